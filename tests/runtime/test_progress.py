"""What a launch says while it runs, where there is no terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from sweeper.results.status import behind
from sweeper.runtime.progress import Progress

STATUS: dict[str, Any] = {
    "slots": {"capacity": 8}, "told": 30, "trials": 64, "tests": 0, "elapsed_s": 60.0,
    "best": None, "trouble": "",
    "lanes": [{"lane": 0, "host": "a", "held": 8, "capacity": 8, "rate": 1500.0, "trouble": ""}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("tracker", "said"),
    [
        (None, ""),
        ({"told": 30, "recorded": 30, "lag_s": 0.0}, ""),
        ({"told": 30, "recorded": 29, "lag_s": 4.9}, ""),
        (
            {"told": 30, "recorded": 10, "lag_s": 12.4},
            "MLflow's records are 20 trials, 12 s behind",
        ),
    ],
)
def test_records_that_are_behind_are_said_once_that_is_worth_a_word(
    tracker: dict[str, Any] | None, said: str
) -> None:
    file = io.StringIO()
    with Progress(Console(file=file), "small") as progress:
        progress.show({**STATUS, "tracker": tracker})
    assert "small: 30 of 64 trials, 1 lanes, 1,500 run-steps/s, 60 s, about 68 s left" in (
        file.getvalue()
    )
    assert ("behind" in file.getvalue()) == bool(said)
    assert said in file.getvalue()
    assert behind(tracker, least_s=5.0) == said


def test_a_status_says_it_at_once() -> None:
    assert behind({"told": 30, "recorded": 29, "lag_s": 0.4}) == (
        "MLflow's records are 1 trials, 0 s behind"
    )
