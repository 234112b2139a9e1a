"""How a sweep fares, from its database alone: whoever runs it, on whatever machine."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.study.database import COMPLETE, FAIL, PRUNED, RUNNING, STRESS, Database
from sweeper.study.folder import Folder
from sweeper.tracking.process import read_progress

# The study notes its health every two seconds; a launch needs its time until the first of them.
_SILENT_S = 60.0
_STARTING_S = 180.0


def status(folder: Folder) -> dict[str, Any]:
    """State and progress of a sweep in plain values.

    `state` is running, starting, finished, interrupted, failed, or lost: a launch that ended
    without a word, which `sweeper resume` goes on from.
    """
    spec = folder.read_spec()
    with closing(folder.database()) as database:
        trials = database.trials()
        health = database.meta("health") or {}
        tests = [trial for trial in trials if trial.origin == STRESS]
        count = dict.fromkeys((RUNNING, COMPLETE, FAIL, PRUNED), 0)
        for trial in trials:
            count[trial.state] += trial.origin != STRESS
        return {
            "sweep": spec.name,
            "state": _state(database, health),
            "trials": spec.budget.trials,
            "told": count[COMPLETE] + count[FAIL] + count[PRUNED],
            "failed": count[FAIL],
            "pruned": count[PRUNED],
            "running": count[RUNNING],
            "tests": len(tests),
            "tests_told": sum(trial.told is not None for trial in tests),
            "run_steps": health.get("run_steps", 0),
            "repeated_steps": health.get("repeated_steps", 0),
            "elapsed_s": health.get("elapsed_s", 0.0),
            "heard_s_ago": _age(health.get("at")),
            "launches": database.meta("launch") or 0,
            "slots": database.meta("slots"),
            "lanes": health.get("lanes", []),
            "waits": health.get("waits"),
            "tracker": _tracker(folder),
            "error": health.get("error"),
            "errors": {t.number: t.error for t in trials if t.state == FAIL},
        }


def runs(folder: Folder) -> bool:
    """Whether somebody trains a sweep: without the trials, for who asks again and again."""
    with closing(folder.database()) as database:
        return is_alive({"state": _state(database, database.meta("health") or {})})


def is_alive(found: dict[str, Any]) -> bool:
    """Whether somebody trains the sweep of a status."""
    return found["state"] in ("running", "starting")


def draw(found: dict[str, Any]) -> RenderableType:
    """A status for a terminal."""
    head = (
        f"{found['sweep']}: {found['state']}, {found['told']} of {found['trials']} trials told, "
        f"{_pruned(found)}"
        f"{found['running']} running, {_tests(found)}{found['run_steps']:,} run-steps in "
        f"{found['elapsed_s']:,.0f} s, launch {found['launches']}"
    )
    lines: list[RenderableType] = [Text(head)]
    if found["state"] == "lost":
        lines.append(Text(f"Nobody trains it any more. Go on: sweeper resume {found['sweep']}"))
    if found["error"]:
        lines.append(Text(f"Error: {found['error']}"))
    for number, error in found["errors"].items():
        lines.append(Text(f"Trial {number} was given up: {error.splitlines()[0]}"))
    lines += [Text(said) for said in (_waits(found["waits"]), behind(found["tracker"])) if said]
    if is_alive(found) and found["lanes"]:
        lines.append(_lanes(found["lanes"]))
    return Group(*lines)


def _tracker(folder: Folder) -> dict[str, Any] | None:
    """How far MLflow's records are; None where no tracking process has said so here."""
    state = read_progress(folder.path)
    keys = ("told", "recorded", "lag_s", "error")
    return {key: state[key] for key in keys} if state["begun"] else None


def _waits(waits: dict[str, float] | None) -> str:
    if not waits or not waits["lane_s"]:
        return ""
    share = waits["waited_s"] / waits["lane_s"]
    return f"Empty slots have waited for the search {share:.1%} of the lanes' time"


def behind(tracker: dict[str, Any] | None, *, least_s: float = 0.0) -> str:
    """By how much MLflow's records are behind; nothing where they aren't, or not for so long."""
    if not tracker or tracker["recorded"] >= tracker["told"] or tracker["lag_s"] < least_s:
        return ""
    left = tracker["told"] - tracker["recorded"]
    return f"MLflow's records are {left} trials, {tracker['lag_s']:.0f} s behind"


def _pruned(found: dict[str, Any]) -> str:
    return f"{found['pruned']} of them pruned, " if found["pruned"] else ""


def _tests(found: dict[str, Any]) -> str:
    if not found["tests"]:
        return ""
    return f"stress test: {found['tests_told']} of {found['tests']} settings, "


def _lanes(lanes: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for title in ("lane", "host", "slots in use", "run-steps/s", "waited", "heard", ""):
        table.add_column(title, justify="left" if title in ("host", "") else "right")
    for lane in lanes:
        table.add_row(
            str(lane["lane"]),
            lane["host"],
            f"{min(lane['held'], lane['capacity'])} of {lane['capacity']}",
            f"{lane['rate']:,.0f}",
            f"{lane.get('waited_s', 0):.0f} s",
            f"{lane['silent_s']:.0f} s ago",
            lane["trouble"],
        )
    return table


def _state(database: Database, health: dict[str, Any]) -> str:
    ended = database.meta("ended")
    if ended is not None:
        return str(ended)
    age, launched = _age(health.get("at")), _age(database.meta("launched_at"))
    if age is not None and (launched is None or age < launched):
        return "running" if age < _SILENT_S else "lost"
    return "starting" if launched is not None and launched < _STARTING_S else "lost"


def _age(moment: float | None) -> float | None:
    return None if moment is None else round(max(0.0, time.time() - moment), 1)
