"""Losses to draw: those of the few runs that a figure shows, thinned so that every spike stays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from itertools import pairwise

import numpy as np

from sweeper.errors import SweepError
from sweeper.lane import trajectories
from sweeper.study.folder import Folder

Curve = tuple[np.ndarray, np.ndarray]
"""Steps and losses."""

_BINS = 220


def curves(folder: Folder, runs: Collection[int]) -> Mapping[int, Curve]:
    """Curves by run; only the parts that these runs are in are read, and only their losses.

    A run whose files are gone has none.
    """
    with closing(folder.database()) as database:
        parts = database.parts(runs) if runs else []
    try:
        table = trajectories.read(folder.storage, parts, ["loss"])
    except SweepError:  # a curve less; the results are in the database
        return {}
    of, steps, losses = (table[name].to_numpy() for name in ("run", "step", "loss"))
    edges = np.searchsorted(of, sorted(runs)), np.searchsorted(of, sorted(runs), side="right")
    return {
        run: thinned(steps[first:stop], losses[first:stop])
        for run, first, stop in zip(sorted(runs), *edges, strict=True)
        if stop > first
    }


def thinned(steps: np.ndarray, losses: np.ndarray, bins: int = _BINS) -> Curve:
    """Lowest and highest point of each of `bins` pieces that are equally wide on a log axis.

    What is not finite is left out.
    """
    known = np.isfinite(losses)
    steps, losses = steps[known], losses[known]
    if len(steps) <= 2 * bins:
        return steps, losses
    marks = np.geomspace(1, steps[-1] + 2, bins + 1)
    cuts = np.unique(np.searchsorted(steps + 1, marks))
    chosen = {0, len(steps) - 1}
    for first, stop in pairwise(cuts.tolist()):
        piece = losses[first:stop]
        chosen |= {int(first + piece.argmin()), int(first + piece.argmax())}
    kept = np.array(sorted(chosen))
    return steps[kept], losses[kept]
