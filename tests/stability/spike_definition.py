"""The spike scores as their definition says it, step by step, each window by itself."""

from __future__ import annotations

import numpy as np

from sweeper.stability.spikes import FORMS, SpikeForm


def spikes(
    losses: np.ndarray, form: SpikeForm, floor: float, slack: float = 0.0
) -> tuple[int, int]:
    """How many steps are spikes for sure, and how many are where `slack` (relative) decides."""
    losses = np.clip(np.asarray(losses, dtype=np.float64), -1e150, 1e150)
    least = max(floor * abs(losses[0]), 1e-140) if losses.size else 0.0
    certain = possible = 0
    for step in range(form.first, losses.size):
        window = losses[max(0, step - form.window) : step]
        # About a value of the window: a mean of large values would round small differences away.
        shifted = window - window[-1]
        mean = shifted.mean()
        deviation = (losses[step] - window[-1]) - mean
        away = deviation if form.is_upward else abs(deviation)
        limit = form.deviations * np.sqrt(np.square(shifted - mean).mean())
        certain += bool(away > least * (1 + slack) and away >= limit * (1 + slack))
        possible += bool(away > least * (1 - slack) and away >= limit * (1 - slack))
    return certain, possible


def scores(losses: np.ndarray, floor: float = 0.0) -> dict[str, float | None]:
    """Both scores of finite losses."""
    return {
        name: spikes(losses, form, floor)[0] / len(losses) if len(losses) >= form.first else None
        for name, form in FORMS.items()
    }
