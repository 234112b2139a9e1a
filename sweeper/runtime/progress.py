"""Live progress of a sweep: trials, the best so far, lanes, time left."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper.results.status import behind

_LINE_EVERY_S = 10.0
_LAG_S = 5.0


class Progress:
    """Shows statuses of the study: a live display on a terminal, else a line every 10 seconds."""

    def __init__(self, console: Console, name: str) -> None:
        self._console, self._name = console, name
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._last_line = self._last_drawn = float("-inf")
        self._phase = ""

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, status: dict[str, Any]) -> None:
        """Draw a status, or a phase such as `{"phase": "starting Ray lanes"}`."""
        now = time.monotonic()
        if "phase" in status:
            self._show_phase(status["phase"])
        elif status["slots"] is None:
            self._show_phase("a lane measures how many runs to train at once")
        elif self._console.is_terminal:
            if now - self._last_drawn > 0.2:
                self._last_drawn = now
                self._live.update(_panel(self._name, status))
        elif now - self._last_line > _LINE_EVERY_S:
            self._last_line = now
            self._console.print(_line(self._name, status), highlight=False, soft_wrap=True)

    def _show_phase(self, phase: str) -> None:
        if phase == self._phase:
            return
        self._phase = phase
        text = Text(f"{self._name}: {phase} …")
        if self._console.is_terminal:
            self._live.update(text)
        else:
            self._console.print(text, soft_wrap=True)


def _panel(name: str, status: dict[str, Any]) -> Group:
    told, trials = status["told"], status["trials"]
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(name, style="bold"),
        ProgressBar(total=trials, completed=told, width=40),
        _counts(status),
        _time_left(status),
    )
    lanes = Table(box=None, padding=(0, 2), header_style="dim")
    for title in ("lane", "host", "slots in use", "run-steps/s"):
        lanes.add_column(title, justify="left" if title == "host" else "right")
    for lane in status["lanes"]:
        slots = f"{min(lane['held'], lane['capacity'])} of {lane['capacity']}"
        lanes.add_row(str(lane["lane"]), lane["host"], slots, f"{lane['rate']:,.0f}")
    lines: list[RenderableType] = [head, Text(_best(status)), lanes]
    lines += [Text(said) for said in [_behind(status)] if said]
    return Group(*lines, *(Text(one, style="red") for one in _troubles(status)))


def _line(name: str, status: dict[str, Any]) -> str:
    rate = sum(lane["rate"] for lane in status["lanes"])
    return (
        f"{name}: {_counts(status)}, {len(status['lanes'])} lanes, "
        f"{rate:,.0f} run-steps/s, {_time_left(status)}; {_best(status)}"
        + "".join(f"; {one}" for one in (_behind(status), *_troubles(status)) if one)
    )


def _counts(status: dict[str, Any]) -> str:
    text = f"{status['told']} of {status['trials']} trials"
    if status["tests"]:
        text += f", stress test: {status['tests_told']} of {status['tests']} settings"
    return text


def _behind(status: dict[str, Any]) -> str:
    return behind(status.get("tracker"), least_s=_LAG_S)


def _troubles(status: dict[str, Any]) -> list[str]:
    """What keeps the study or a lane from working, in words."""
    said = [f"the study waits: {status['trouble']}"] if status["trouble"] else []
    return said + [f"lane {n['lane']}: {n['trouble']}" for n in status["lanes"] if n["trouble"]]


def _best(status: dict[str, Any]) -> str:
    best = status["best"]
    if best is None:
        return "no trial has ended yet"
    values = best.get("objectives") or {"robust_loss": best["robust_loss"]}
    said = "".join(f"{k} {'none' if v is None else f'{v:.3f}'}, " for k, v in values.items())
    return (
        f"best so far: trial {best['trial']}, {said}"
        f"{best['failure_fraction']:.0%} of its runs failed"
    )


def _time_left(status: dict[str, Any]) -> str:
    told, trials, elapsed = status["told"], status["trials"], status["elapsed_s"]
    if not told or told >= trials:
        return f"{elapsed:.0f} s"
    return f"{elapsed:.0f} s, about {elapsed / told * (trials - told):.0f} s left"
