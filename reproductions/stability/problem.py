"""The question's problem with any data, and what is known of it exactly."""

from __future__ import annotations

from functools import cache

import numpy as np

from reproductions.divisor import Prober, least_squares
from sweeper.optim.configuration import Configuration
from sweeper.stability.safe_eps import safe_eps
from sweeper.tasks.bundled import perceptron
from sweeper.tasks.task import Task

ADAM = {"optimizer": "adam", "lr": 1e-3}


@cache
def task(data: int) -> Task:
    """Data set 0 is the question's own, all others are fresh draws of the same kind."""
    return perceptron.build(data)


@cache
def design(data: int) -> np.ndarray:
    """A = [X, 1], so that the Hessian is 2 A^T A."""
    inputs = task(data).data[0].double().numpy()
    return np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)


def prober(data: int) -> Prober:
    """Exact probes."""
    return least_squares(design(data))


@cache
def curvature(data: int) -> float:
    """Top eigenvalue of the Hessian."""
    rows = design(data)
    return 2 * float(np.linalg.eigvalsh(rows @ rows.T)[-1])


def closed_form(configuration: Configuration, horizon: int, data: int) -> float:
    """eps* of this data set."""
    found = safe_eps(configuration, horizon, curvature(data), full_batch=True).value
    assert found is not None
    return found
