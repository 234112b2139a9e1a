"""The policy `lr_sensitivity`: how much is lost where lr is not quite right.

Wortsman et al. 2023 (arXiv:2309.14322, section 2.2), with l the final loss, l0 the loss at
initialisation and l* the lowest l over the learning rates of [a, b]:

    LRS = E over lr in [a, b] of min(l(lr), l0) - l*

As published it compares settings that differ in lr alone, each trained at every lr of a grid. A
sweep that draws all its hyperparameters has no such grid. So for each trial:

- the trials that differ from it in lr alone, where there are at least two learning rates: the mean
  over them, each counted once, as published;
- else its 8 nearest neighbours, itself among them, of those with an lr within a factor of 10. They
  differ in the other hyperparameters too, so that their influence is in the number as well; it is
  an indication. Near is by the root mean square over those: a numeric one by the share of its
  range (of its logarithm from a factor of 10 on), any other by whether it is the same.

It says nothing of how low the loss is: trials that all learn equally little are insensitive. Those
that are not below l0 come after those that are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sweeper.ranking.evidence import Evidence, Row, finite, mean_over_seeds

_FACTOR = 10.0
_NEIGHBOURS = 8


def lr_sensitivity_keys(trials: Sequence[Row], evidence: Evidence) -> list[tuple[float, ...]]:
    """Sort keys: those that learnt, then LRS, then the final loss, then the number."""
    found = lr_sensitivity(trials, evidence)
    keys: list[tuple[float, ...]] = []
    for trial in trials:
        final = mean_over_seeds(trial, evidence, "final_loss")
        learnt = final < mean_over_seeds(trial, evidence, "first_loss")
        keys.append((float(not learnt), found[trial["trial"]], final, int(trial["trial"])))
    return keys


def lr_sensitivity(trials: Sequence[Row], evidence: Evidence) -> dict[int, float]:
    """LRS by number of the trial, >= 0; infinity where there is nothing to compare it with.

    Args:
        trials: each with `config`, which has `lr`, and with `final_loss` and, where the evidence
            has no runs, `first_loss`. A trial without a finite final loss costs l0, or where that
            isn't known the largest final loss of the table.
    """
    known = [trial for trial in trials if _lr(trial) is not None]
    result = {trial["trial"]: math.inf for trial in trials}
    costs = _capped_losses(known, evidence)
    if not np.isfinite(costs).all():
        return result
    lrs = np.log10([_lr(trial) or 1.0 for trial in known])
    distances = None
    for members in _groups(known):
        if len({float(lrs[index]) for index in members}) > 1:
            result |= dict.fromkeys(
                (known[index]["trial"] for index in members), _grid(costs, lrs, members)
            )
            continue
        if distances is None:
            distances = _Distances([dict(_items(trial["config"], "")) for trial in known])
        for index in members:
            near = _nearest(distances.of(index), lrs, index)
            if len(near) > 1:
                result[known[index]["trial"]] = float(costs[near].mean() - costs[near].min())
    return result


def _grid(costs: np.ndarray, lrs: np.ndarray, members: list[int]) -> float:
    """LRS of trials that differ in lr alone; those of equal lr (a repetition) are averaged."""
    losses = np.array(
        [costs[members][lrs[members] == lr].mean() for lr in np.unique(lrs[members])]
    )
    return float(losses.mean() - losses.min())


def _capped_losses(trials: Sequence[Row], evidence: Evidence) -> np.ndarray:
    """min(l, l0) of every trial, means over its seeds, `[n]`."""
    final = np.array([mean_over_seeds(trial, evidence, "final_loss") for trial in trials])
    first = np.array([mean_over_seeds(trial, evidence, "first_loss") for trial in trials])
    costs = np.minimum(final, first)
    known = costs[np.isfinite(costs)]
    return np.where(np.isfinite(costs), costs, known.max() if known.size else np.inf)


def _groups(trials: Sequence[Row]) -> list[list[int]]:
    """Indices of the trials that are the same but for lr."""
    groups: dict[str, list[int]] = {}
    for index, trial in enumerate(trials):
        rest = {key: value for key, value in trial["config"].items() if key != "lr"}
        groups.setdefault(json.dumps(rest, sort_keys=True, default=repr), []).append(index)
    return list(groups.values())


def _nearest(distances: np.ndarray, lrs: np.ndarray, index: int) -> list[int]:
    """The trial itself and its nearest neighbours, the first ones of those equally near."""
    inside = np.flatnonzero(np.abs(lrs - lrs[index]) <= math.log10(_FACTOR) + 1e-12)
    order = inside[np.argsort(distances[inside], kind="stable")]
    return [index, *order[order != index][: _NEIGHBOURS - 1].tolist()]


class _Distances:
    """Distances of settings without lr, one row at a time."""

    def __init__(self, settings: Sequence[Mapping[str, Any]]) -> None:
        keys = sorted({key for one in settings for key in one} - {"lr"})
        columns = [_column([one.get(key) for one in settings]) for key in keys]
        self._columns = [column for column in columns if column is not None]
        self._count = len(settings)

    def of(self, index: int) -> np.ndarray:
        """Distances from one of the settings to all, `[n]`."""
        total = np.zeros(self._count)
        for values, is_numeric in self._columns:
            apart = np.abs(values - values[index]) if is_numeric else values != values[index]
            total += np.minimum(apart, 1.0) ** 2
        return np.sqrt(total / max(1, len(self._columns)))


def _column(values: Sequence[Any]) -> tuple[np.ndarray, bool] | None:
    """Values of one hyperparameter as numbers to compare; None where they are all the same."""
    codes: dict[str, int] = {}
    labels = np.array([codes.setdefault(repr(value), len(codes)) for value in values])
    if len(codes) < 2:
        return None
    missing = np.array([value is None for value in values])
    if not {type(value) for value in values if value is not None} <= {int, float}:
        return labels, False
    numbers = np.array([0.0 if value is None else value for value in values], dtype=np.float64)
    known = numbers[~missing]
    if known.min() > 0 and known.max() > 10 * known.min():
        numbers = np.log10(np.where(missing, known.min(), numbers))
    low, spread = numbers[~missing].min(), np.ptp(numbers[~missing])
    scaled = (numbers - low) / max(float(spread), 1e-300)
    return np.where(missing, 2.0, scaled), True  # as far from any value as can be


def _items(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The settings inside a configuration, by dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _items(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _items(inner, f"{name}.{place}")
    else:
        yield name, value


def _lr(trial: Row) -> float | None:
    lr = finite((trial.get("config") or {}).get("lr"))
    return lr if 0 < lr < math.inf else None
