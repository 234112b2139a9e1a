"""Probes of any number of runs, in batches of one size, so that nothing recompiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from sweeper.optim.compiler import compile_for
from sweeper.optim.step import Gradient
from sweeper.stability.curvature import Curvature, ProbePlan, ProbePoint, probe
from sweeper.stability.hessian import hessian_product, linearised


class Prober:
    """Bound to a loss.

    A row is a pure function of its own point: at one capacity its numbers are the same in any
    slot and beside any neighbours (bit for bit where the products of the gradient are).

    Args:
        gradient: of every row, differentiable by torch.func.
        capacity: R, rows probed at once, >= 1. One Lanczos run holds R times P times the plan's
            iterations.
        plan: what is computed.
        compiled: compile with torch.compile; the first call then takes 5 to 20 seconds, which
            thousands of probes of a small model don't earn back.
    """

    def __init__(
        self, gradient: Gradient, capacity: int, plan: ProbePlan | None = None, *, compiled: bool
    ) -> None:
        self._capacity = capacity
        self._plan = plan or ProbePlan()
        self._eager = None if compiled else gradient

        def slope(theta: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
            return gradient(theta, *batch)

        kind = str(capacity)
        self._gradient = compile_for(kind, slope, compiled=compiled)
        self._product = compile_for(kind, hessian_product(gradient), compiled=compiled)

    def probe(self, point: ProbePoint, plan: ProbePlan | None = None) -> Curvature:
        """The curvature of all N rows of a point, N >= 1.

        Args:
            plan: in place of the prober's own.
        """
        count = point.theta.shape[0]
        parts = []
        for first in range(0, count, self._capacity):
            # The last row fills a batch up.
            chosen = [min(first + at, count - 1) for at in range(self._capacity)]
            parts.append(self._probe(_rows(point, chosen), plan or self._plan))
        return _joined(parts, count)

    def _probe(self, point: ProbePoint, plan: ProbePlan) -> Curvature:
        if self._eager is None:
            return probe(self._gradient, self._product, point, plan)
        slope, product = linearised(self._eager, point.theta, *point.batch)
        return probe(
            lambda theta, *batch: (slope, slope),
            lambda theta, vector, *batch: product(vector),
            point,
            plan,
        )


def _rows(point: ProbePoint, chosen: Sequence[int]) -> ProbePoint:
    def of(tensor: Tensor) -> Tensor:
        return tensor[torch.tensor(chosen, device=tensor.device)]

    def of_any(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else of(tensor)

    return ProbePoint(
        theta=of(point.theta),
        lr=of(point.lr),
        seeds=[point.seeds[row] for row in chosen],
        batch=tuple(of(part) for part in point.batch),
        root=of_any(point.root),
        eps=of_any(point.eps),
        sharpness_start=of_any(point.sharpness_start),
        top_start=of_any(point.top_start),
    )


def _joined(parts: Sequence[Curvature], count: int) -> Curvature:
    """One after the other, without what filled up the last."""
    columns: dict[str, Any] = {}
    for field in fields(Curvature):
        found = [getattr(part, field.name) for part in parts]
        columns[field.name] = None if found[0] is None else torch.cat(found)[:count]
    return Curvature(**columns)
