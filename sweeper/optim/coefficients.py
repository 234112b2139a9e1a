"""What a compiled step needs to know of every row: a table per chunk, made on the host in float64.

Schedules, bias corrections and step sizes are K numbers a step. Folded here into coefficients they
are values of a tensor, so that rows of different schedules share a pack, and nothing of them is
ever recompiled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from sweeper.optim import schedules
from sweeper.optim.catalog import OPTIMIZERS
from sweeper.optim.configuration import Configuration, parse
from sweeper.optim.rules import RULES
from sweeper.optim.rules.rule import Rule

# Of every rule: L2 weight decay, decoupled one times lr, and the limits of the gradient.
COMMON = ("coupled", "decay", "clip_norm", "clip_value")


@dataclass(slots=True)
class Row:
    """A run in a slot as the table sees it.

    Args:
        configuration: of the run.
        horizon: steps of the run.
        step: updates already made.
    """

    configuration: Configuration
    horizon: int
    step: int = 0


def names(rule: Rule) -> tuple[str, ...]:
    """The coefficients of a rule, in the order of the table."""
    return (*COMMON, *_own_names(rule.name))


def table(rule: Rule, rows: Sequence[Row | None], steps: int) -> np.ndarray:
    """The coefficients of the next steps, float64 `[steps, C, K]` in the order of `names`.

    lr is 0 past a row's horizon and in empty slots: what is there stays as it is.
    """
    filled = [row if row is not None else _idle(rule.name) for row in rows]
    columns = _columns(rule, filled)
    at = np.arange(steps, dtype=np.float64)[:, None] + np.array([float(r.step) for r in filled])
    horizon = np.array([float(row.horizon) for row in filled])
    with np.errstate(all="ignore"):  # both branches of every `where` are evaluated
        share = _scheduled(rule, filled, at, horizon, columns)
        lr = np.where(at < horizon, columns["lr"] * share, 0.0)
        columns["decay"] = lr * columns["decoupled"]
        values = {name: columns[name] for name in COMMON}
        values |= rule.coefficients(columns, lr, at + 1)
    found = np.empty((steps, len(values), len(rows)))
    for place, name in enumerate(names(rule)):
        found[:, place] = values[name]
    return found


def _scheduled(
    rule: Rule,
    rows: Sequence[Row],
    at: np.ndarray,
    horizon: np.ndarray,
    columns: dict[str, np.ndarray],
) -> np.ndarray:
    """Share of lr `[steps, K]`; puts the momentum that a schedule cycles into the columns."""
    share = np.empty_like(at)
    kinds = [row.configuration.schedule.kind for row in rows]
    for kind in sorted(set(kinds)):
        chosen = np.array([place for place, own in enumerate(kinds) if own == kind])
        own = [
            schedules.row_values(rows[i].configuration.schedule, rows[i].horizon) for i in chosen
        ]
        values = {name: np.array([one[name] for one in own]) for name in own[0]}
        share[:, chosen] = schedules.factor(kind, at[:, chosen], horizon[chosen], values)
        cycled = schedules.momentum(kind, at[:, chosen], horizon[chosen], values)
        if cycled is not None and rule.cycled is not None:
            column = np.broadcast_to(columns[rule.cycled], at.shape).copy()
            column[:, chosen] = np.where(values["cycle_momentum"] > 0, cycled, column[:, chosen])
            columns[rule.cycled] = column
    return share


def _columns(rule: Rule, rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """The hyperparameters `[K]` by name."""
    described = [_described(rule, row.configuration) for row in rows]
    return {name: np.array([one[name] for one in described]) for name in described[0]}


def _described(rule: Rule, configuration: Configuration) -> dict[str, float]:
    values = configuration.values
    decay = float(values["weight_decay"])
    return {
        "lr": float(values["lr"]),
        "coupled": 0.0 if configuration.is_decoupled else decay,
        "decoupled": decay if configuration.is_decoupled else 0.0,
        "clip_norm": _limit(configuration.clip_norm),
        "clip_value": _limit(configuration.clip_value),
        **{name: float(values[name]) for name in rule.columns},
    }


def _limit(value: float | None) -> float:
    return math.inf if value is None else value


@cache
def _idle(rule: str) -> Row:
    """What stands in for an empty slot."""
    optimizer = next(name for name, one in OPTIMIZERS.items() if one.rule == rule)
    return Row(parse({"optimizer": optimizer}), horizon=0)


@cache
def _own_names(rule: str) -> tuple[str, ...]:
    columns = {name: np.full(1, 0.5) for name in RULES[rule].columns}
    with np.errstate(all="ignore"):
        return tuple(RULES[rule].coefficients(columns, np.ones((1, 1)), np.ones((1, 1))))
