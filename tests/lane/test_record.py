"""A run that ends early ends at one step, however a lane cuts its chunks."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.lane.record import Record
from sweeper.lane.run import Run
from sweeper.optim.catalog import SERIES
from sweeper.stability.limits import Limits
from sweeper.tasks.registry import TaskName

HORIZON = 400
LOSSES = {
    # After the grace of 20 steps, above ten times the first loss for 20 steps in a row.
    "hopeless": (np.full(HORIZON, 100.0), 40),
    "non-finite": (np.where(np.arange(HORIZON) < 33, 1.0, np.nan), 34),  # the NaN is on record
    "whole": (np.linspace(1.0, 0.5, HORIZON), HORIZON),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_it_ends_at_one_step(kind: str) -> None:
    losses, end = LOSSES[kind]
    losses = losses.copy()
    losses[0] = 1.0
    found = []
    for chunk in (1, 10, 50, HORIZON):
        run = Run(0, 0, {"optimizer": "adam"}, 0, HORIZON)
        record = Record(run, TaskName("perceptron", {}).build(), Limits(), 1e-7)
        for first in range(0, HORIZON, chunk):
            if not record.ended:
                series = np.tile(losses[first : first + chunk, None], (1, len(SERIES)))
                record.take(series)
        assert record.step == end
        piece = record.take_pending()
        assert len(piece.series) == end
        found.append(record.result())
    assert all(repr(one) == repr(found[0]) for one in found)
