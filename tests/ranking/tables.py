"""Hand-made tables of trials and the runs behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sweeper.ranking.evidence import Evidence
from sweeper.ranking.objective import trial_result

LIMITS = {"climb": 3.0, "give_back": 0.2, "cvar": 0.4}


def run(tail: float | None, **changes: Any) -> dict[str, Any]:
    """A run that held at a tail loss, but for what is changed."""
    whole = {
        "steps": 1000,
        "finite": True,
        "hopeless": False,
        "negative": False,
        "failed": False,
        "first_loss": 1.0,
        "best_loss": tail,
        "final_loss": tail,
        "tail_loss": tail,
        "floor": 1e-12,
        "draw_up": 0.0,
        "give_back": 0.0,
        "onset_step": None,
        "stable_steps": 1000,
        "curve": [[0, 1.0], [50, 0.5], [999, tail]],
    }
    return {**whole, **changes}


def climbed(best: float, final: float, **changes: Any) -> dict[str, Any]:
    """A run that climbed 4 decades late and came back to a good end."""
    late = {"failed": True, "draw_up": 4.0, "onset_step": 800, "stable_steps": 800}
    return run(1e4 * best, **{"best_loss": best, "final_loss": final, **late, **changes})


def diverged(**changes: Any) -> dict[str, Any]:
    lost = {"finite": False, "failed": True, "steps": 30, "onset_step": 30, "stable_steps": 30}
    return run(None, **{**lost, "best_loss": 1.0, **changes})


def table(
    trials: dict[int, Sequence[dict[str, Any]]], **more: dict[int, Any]
) -> list[dict[str, Any]]:
    """One row per trial, with its own value of every further column."""
    return [
        {
            "trial": number,
            **trial_result(runs, **LIMITS),
            **{name: values[number] for name, values in more.items() if number in values},
        }
        for number, runs in trials.items()
    ]


def both(
    trials: dict[int, Sequence[dict[str, Any]]], **more: dict[int, Any]
) -> tuple[list[dict[str, Any]], Evidence]:
    """The table and its evidence."""
    return table(trials, **more), Evidence(runs=trials, early_step=100)
