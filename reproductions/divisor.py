"""What a run divides its gradient by, from its saved state, and the probes made with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from sweeper.optim.arena import SavedRow
from sweeper.optim.configuration import Configuration
from sweeper.stability import course, preconditioner
from sweeper.stability.curvature import ProbePlan, ProbePoint, probe
from sweeper.stability.hessian import hessian_product
from sweeper.stability.sharpness import SHARES, Probe
from sweeper.tasks.gradient import packed_gradient
from sweeper.tasks.layout import Form, Layout
from sweeper.tasks.task import Task

Prober = Callable[[Configuration, int, SavedRow], Probe]
"""(configuration, horizon, saved row) -> the probe of that moment."""

_MOMENTS = {"rmsprop": "square_avg", "adagrad": "sum", "adam": "exp_avg_sq"}
_NO_DIVISOR = ("sgd", "lion", "adai")
# From this share of the second moment in the divisor on, eps is of no matter.
_ALL_MOMENT = 0.99


@dataclass(frozen=True, slots=True)
class Divisor:
    """root + eps of one moment, and the learning rate of the next update.

    Args:
        root: `[P]` float64; None for rules that divide by nothing.
    """

    step: int
    lr: float
    root: np.ndarray | None
    eps: float

    @classmethod
    def of(cls, configuration: Configuration, horizon: int, row: SavedRow) -> Divisor:
        """From a row after at least one update."""
        step = np.array([float(row["step"])])
        lr = float(course.learning_rate(configuration, horizon, step)[0])
        if configuration.rule in _NO_DIVISOR:
            return cls(int(step[0]), lr, None, 0.0)
        name = _MOMENTS.get(configuration.rule, "exp_avg_sq")
        name = "max_exp_avg_sq" if configuration.values.get("amsgrad") else name
        correction = float(preconditioner.correction(configuration, step)[0])
        eps = float(configuration.values["eps"])
        eps *= correction if preconditioner.is_eps_corrected(configuration) else 1.0
        # The average of StableAdamW has its correction built in.
        own = 1.0 if configuration.rule in ("stable_adamw", "adagrad") else correction
        return cls(int(step[0]), lr, own * np.sqrt(row[name].double().numpy()), eps)


def least_squares(design: np.ndarray) -> Prober:
    """Exact probes of a sum of squares: H = 2 A^T A, and A P^-1 A^T has its few eigenvalues.

    Args:
        design: A, `[N, P]`.
    """

    def look(configuration: Configuration, horizon: int, row: SavedRow) -> Probe:
        at = Divisor.of(configuration, horizon, row)
        root = np.zeros(design.shape[1]) if at.root is None else at.root
        eps = 1.0 if at.root is None else at.eps

        def scaled(share: float) -> np.ndarray:
            matrix: np.ndarray = at.lr * 2 * (design / (share * root + eps)) @ design.T
            return matrix

        values, vectors = np.linalg.eigh(scaled(1.0))
        top = design.T @ vectors[:, -1] / np.sqrt(root + eps)
        share = float(top**2 @ (root / (root + eps)) / (top @ top))
        wants = at.root is not None and eps > 0 and share < _ALL_MOMENT
        ahead = [(d, float(np.linalg.eigvalsh(scaled(d))[-1])) for d in SHARES if wants]
        return Probe(at.step, float(values[-1]), share if at.root is not None else 1.0, (*ahead,))

    return look


def lanczos(task: Task, iterations: int = 30, *, ahead: bool = True) -> Prober:
    """Probes of any full-batch task, by Hessian products in float64 where the run stands.

    Args:
        ahead: whether they say how S will grow.
    """
    layout = Layout.of(task.initial(0))
    inputs, targets = (part.double() if part.is_floating_point() else part for part in task.data)
    blank = torch.zeros(1, sum(layout.sizes), dtype=torch.float64)
    gradient = packed_gradient(task, Form(layout), blank, (inputs, targets))
    product = hessian_product(gradient)
    plan = ProbePlan(iterations=iterations, trace_samples=0, raw=False)

    def look(configuration: Configuration, horizon: int, row: SavedRow) -> Probe:
        at = Divisor.of(configuration, horizon, row)

        def measured(share: float) -> tuple[float, float]:
            has = at.root is not None
            point = ProbePoint(
                theta=row["theta"].double()[None],
                lr=torch.tensor([at.lr]),
                seeds=[(0, at.step)],
                root=torch.from_numpy(share * at.root)[None] if at.root is not None else None,
                eps=torch.tensor([at.eps], dtype=torch.float64) if has else None,
            )
            found = probe(gradient, product, point, plan)
            return float(found.sharpness[0]), float(found.moment_share[0])

        now, moment = measured(1.0)
        moment = 1.0 if np.isnan(moment) else moment
        wants = ahead and at.root is not None and moment < _ALL_MOMENT
        later = [(share, max(now, measured(share)[0])) for share in SHARES if wants]
        return Probe(at.step, now, moment, (*later,))

    return look


def top_eigenvalue(task: Task, theta: torch.Tensor, iterations: int = 30) -> float:
    """Of the Hessian of the loss on the whole data, in float64."""
    layout = Layout.of(task.initial(0))
    inputs, targets = (part.double() if part.is_floating_point() else part for part in task.data)
    point = ProbePoint(theta=theta.double()[None], lr=torch.ones(1), seeds=[(0, 0)])
    gradient = packed_gradient(task, Form(layout), point.theta, (inputs, targets))
    plan = ProbePlan(iterations=iterations, trace_samples=0)
    return float(probe(gradient, hessian_product(gradient), point, plan).top[0])
