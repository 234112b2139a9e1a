"""The claims, each held against the numbers: reproduced, not reproduced or not decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reproductions import wording
from reproductions.adai.best import Best
from reproductions.adai.grid import Grid, decades

YES, NO, OPEN = "reproduced", "not reproduced", "not decided by the spread"
# A ratio of curvatures up to which two ends count as equally flat.
_AS_FLAT = 1.2
# The lr of Adai is said to be so many times that of SGD with momentum 0.9.
_TIMES = 10.0
_ERRORS = 3.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, the numbers that it is held against, and what they say."""

    text: str
    numbers: str
    verdict: str


def claims(grids: Mapping[str, Grid], best: Mapping[str, Best]) -> list[Claim]:
    """Every claim.

    Args:
        grids, best: of sgd, adam, adai and adaiw, by name.
    """
    return [
        _generalises("Adai generalises better than SGD with momentum", best["adai"], best["sgd"]),
        _generalises("Adai generalises better than Adam", best["adai"], best["adam"]),
        _generalises("SGD with momentum generalises better than Adam", best["sgd"], best["adam"]),
        _generalises("AdaiW generalises better than Adai", best["adaiw"], best["adai"]),
        _flatter("Adai ends flatter than Adam", best["adai"], best["adam"]),
        _as_flat("Adai ends as flat as SGD with momentum", best["adai"], best["sgd"]),
        _wider("Adai has more good cells than SGD with momentum", grids["adai"], grids["sgd"]),
        _wider("Adai has more good cells than Adam", grids["adai"], grids["adam"]),
        _ten_times(grids["adai"], grids["sgd"]),
    ]


def difference(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Of two means, with its standard error; infinite where a mean is of one number."""
    if min(one.size, other.size) < 2:
        return float(one.mean() - other.mean()), float("inf")
    error = np.sqrt(one.var(ddof=1) / one.size + other.var(ddof=1) / other.size)
    return float(one.mean() - other.mean()), float(error)


def higher(one: np.ndarray, other: np.ndarray) -> str:
    """Whether the first mean is above the second one beyond three standard errors."""
    mean, error = difference(one, other)
    if mean > _ERRORS * error:
        return YES
    return NO if mean < -_ERRORS * error else OPEN


def _generalises(text: str, one: Best, other: Best) -> Claim:
    mean, error = difference(one.accuracy, other.accuracy)
    numbers = f"held-out accuracy {mean:+.4f}, standard error {error:.4f}"
    return Claim(text, numbers, higher(one.accuracy, other.accuracy))


def _flatter(text: str, one: Best, other: Best) -> Claim:
    verdict = higher(np.log(other.curvature), np.log(one.curvature))
    return Claim(text, _curvatures(one, other), verdict)


def _as_flat(text: str, one: Best, other: Best) -> Claim:
    """Not sharper by more than a fifth: reproduced where sure, not where excluded."""
    mean, error = difference(np.log(one.curvature), np.log(other.curvature))
    verdict = OPEN
    if mean + _ERRORS * error < np.log(_AS_FLAT):
        verdict = YES
    elif mean - _ERRORS * error > np.log(_AS_FLAT):
        verdict = NO
    return Claim(text, _curvatures(one, other), verdict)


def _curvatures(one: Best, other: Best) -> str:
    mean, error = difference(np.log(one.curvature), np.log(other.curvature))
    low, high = np.exp(mean - _ERRORS * error), np.exp(mean + _ERRORS * error)
    ours, theirs = (wording.loss(float(at.loss.mean())) for at in (one, other))
    return (
        f"curvature {np.exp(mean):.2f} times as large ({low:.2f} to {high:.2f}), at training "
        f"losses {ours} and {theirs}"
    )


def _wider(text: str, one: Grid, other: Grid) -> Claim:
    """By the cells of every seed alone: decided where each seed of one is beyond all others'."""
    ours, theirs = (grid.basins.sum((1, 2)) for grid in (one, other))
    verdict = OPEN
    if len(ours) > 1:
        verdict = YES if ours.min() > theirs.max() else OPEN
        verdict = NO if ours.max() < theirs.min() else verdict
    numbers = (
        f"{int(one.basin.sum())} against {int(other.basin.sum())} cells, "
        f"{decades(one.basin):.1f} against {decades(other.basin):.1f} decades of lr; cells by "
        f"seed {_listed(ours)} against {_listed(theirs)}"
    )
    return Claim(text, numbers, verdict)


def _ten_times(one: Grid, other: Grid) -> Claim:
    """By the middle of the good cells, on every seed within a step of the grid."""
    ratios = one.centres() / other.centres()
    fits = np.abs(np.log10(ratios / _TIMES)) <= 1 / 3
    verdict = OPEN
    if len(fits) > 1:
        verdict = YES if fits.all() else OPEN if fits.any() else NO
    told = " and ".join(f"{ratio:.1f}" for ratio in ratios)
    text = f"The lr of Adai is {_TIMES:g} times that of SGD with momentum 0.9"
    return Claim(text, f"middle of the good cells: {told} times, by seed", verdict)


def _listed(counts: np.ndarray) -> str:
    return ", ".join(str(int(count)) for count in counts)
