"""A schedule as Python text: a function of the step, in plain Python."""

from __future__ import annotations

from sweeper.optim.hyperparameters import Length, Lengths
from sweeper.optim.schedule import Schedule
from sweeper.optim.schedule_catalog import SCHEDULES
from sweeper.results.export.source import Script, call, parameters

_MODULE = "schedules"
# Functions that a schedule calls.
_NEEDS = {
    "cyclical_share": ("height",),
    "cyclical_momentum": ("height",),
    "onecycle_share": ("phases",),
    "onecycle_momentum": ("phases",),
}
_DOC = '"""Share of the peak learning rate at `step`: updates already made, 0 at the first."""'
_MOMENTUM_DOC = '"""Momentum (beta1) at `step`: updates already made, 0 at the first."""'


def add_schedule(script: Script, schedule: Schedule, total_steps: int, *, cycles: bool) -> None:
    """Add `TOTAL_STEPS`, `lr_share(step, total_steps)` and, for `cycles`, `momentum_at`."""
    functions = [f"{schedule.kind}_share", *([f"{schedule.kind}_momentum"] if cycles else [])]
    needed = [name for one in functions for name in _NEEDS.get(one, ())]
    script.blocks.append(f"TOTAL_STEPS = {total_steps}")
    script.add_pieces(_MODULE, *dict.fromkeys(needed), *functions)
    warmup = _length(schedule, "warmup")
    script.blocks.append(
        f"def lr_share(step: int, total_steps: int = TOTAL_STEPS) -> float:\n    {_DOC}\n"
        f"    warmup = {warmup}\n"
        "    if step < warmup:\n"
        "        return (step + 1) / warmup\n"
        "    made, span = step - warmup, max(total_steps - warmup, 1)\n"
        f"    return {_call(schedule, functions[0])}"
    )
    if cycles:
        script.blocks.append(
            f"def momentum_at(step: int, total_steps: int = TOTAL_STEPS) -> float:\n"
            f"    {_MOMENTUM_DOC}\n"
            f"    warmup = {warmup}\n"
            "    made, span = max(step - warmup, 0), max(total_steps - warmup, 1)\n"
            f"    return {_call(schedule, functions[1])}"
        )


def _call(schedule: Schedule, function: str) -> str:
    names = parameters(_MODULE, function)[2:]
    arguments = {"made": "made", "span": "span"}
    return call(function, arguments | {name: _value(schedule, name) for name in names})


def _value(schedule: Schedule, name: str) -> str:
    kind = SCHEDULES[schedule.kind][name]
    value = schedule.values[name]
    if name == "timescale":
        return f"max({_length(schedule, name)} or warmup, 1)"
    if name == "step_size_down":
        return f"{_length(schedule, name)} or {_length(schedule, 'step_size_up')}"
    if isinstance(kind, Length):
        return _length(schedule, name)
    if isinstance(kind, Lengths):  # they count from the start of the run
        assert isinstance(value, tuple)
        marks = [_steps(one) for one in value]
        return f"[mark - warmup for mark in ({', '.join(marks)},)]"
    return repr(value)


def _length(schedule: Schedule, name: str) -> str:
    kind, value = SCHEDULES[schedule.kind][name], schedule.values[name]
    assert isinstance(kind, Length) and isinstance(value, int | float)
    text = _steps(value)
    return f"max({text}, {kind.shortest})" if kind.shortest and text != str(value) else text


def _steps(value: float | int) -> str:
    """Fractions of the horizon follow total_steps."""
    if isinstance(value, int) or value == 0:
        return str(int(value))
    return f"round({value!r} * total_steps)"
