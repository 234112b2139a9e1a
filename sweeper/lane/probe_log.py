"""What the probes of one run found, what they forecast, and what its result says of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from sweeper.lane.probe_steps import has_spectrum, probe_steps
from sweeper.optim.configuration import Configuration
from sweeper.stability import course
from sweeper.stability.forecast import Forecast, forecast
from sweeper.stability.safe_eps import safe_eps
from sweeper.stability.sharpness import Probe
from sweeper.stability.threshold import threshold
from sweeper.stability.verdict import RunFacts

# Below this share of the second moment in the divisor a forecast needs the spectrum of H as well.
_PURE = 0.99
# A run so many times as old as at its last spectrum needs another.
_OLD = 10
# A forecast takes time and memory in proportion to the steps that it looks at.
_FARTHEST = 2_000_000
_NO_PROBE = "no probe: the run is too short for one, or ended before"

Found = dict[str, Any]
"""One probe in plain values: `step`, those of Measurement, `threshold`, `forecast_step`,
`forecast_confidence`, `forecast_reason`; None where there is no value."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a probe measured of one run, see sweeper.stability.curvature.Curvature.

    Args:
        eps: what is added to the root; None for rules that divide by nothing.
        lr: of the next update.
    """

    lr: float
    eps: float | None
    sharpness: float
    moment_share: float
    gradient_curvature: float
    converged: bool
    top_eigenvalue: float
    bottom_eigenvalue: float
    hessian_trace: float

    def plain(self) -> Found:
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: _finite(value) for name, value in values.items()}


class ProbeLog:
    """The probes of one run, in the order of their steps.

    Args:
        configuration: of the run.
        facts: of the run.
        full_batch: whether every step sees all samples.
        stress_horizon: steps up to which forecasts look, with the schedule stretched over them;
            nothing beyond the run's own horizon where it isn't longer.
    """

    def __init__(
        self,
        configuration: Configuration,
        facts: RunFacts,
        stress_horizon: int,
        *,
        full_batch: bool,
    ) -> None:
        self.steps = probe_steps(facts, full_batch=full_batch)
        self.found: list[Found] = []
        self.vector: Tensor | None = None  # where the next probe starts from
        self.trouble: str | None = None  # why the run can't be probed
        self._configuration, self._horizon = configuration, facts.horizon
        self._stress = max(stress_horizon, facts.horizon)
        self._has_spectrum = has_spectrum(facts)
        self._is_full_batch = full_batch

    def next_step(self, step: int) -> int | None:
        """The first probe after `step` updates."""
        return next((one for one in self.steps if one > step), None)

    @property
    def wants_spectrum(self) -> bool:
        """Whether the next probe is to measure the spectrum of H itself beside the sharpness."""
        if not self._has_spectrum:
            return False
        known = [one["step"] for one in self.found if one["top_eigenvalue"] is not None]
        if not known:
            return True
        share, step = self.found[-1]["moment_share"], self.next_step(self.found[-1]["step"])
        is_old = step is not None and step >= _OLD * known[-1]
        return self._is_full_batch and is_old and share is not None and share < _PURE

    def take(self, step: int, measured: Measurement, vector: Tensor) -> None:
        """Note a probe and forecast from it.

        Args:
            vector: `[P]`, the top eigenvector, see Curvature.sharpness_vector.
        """
        found = {"step": step, **measured.plain(), "threshold": self._threshold(step)}
        self.vector = None if found["sharpness"] is None else vector
        earlier = next((one for one in reversed(self.found) if one["sharpness"]), None)
        self.found.append(found)
        if found["sharpness"] is None:
            said = Forecast(None, False, "the curvature isn't finite")
        elif earlier is None and self.next_step(step) is not None:
            said = Forecast(None, False, "the first probe: the next one tells whether S grows")
        else:
            said = self._forecast(
                self._probe(found), None if earlier is None else self._probe(earlier)
            )
        found["forecast_step"] = said.step
        found["forecast_confidence"], found["forecast_reason"] = said.confidence, said.reason

    def within(self, first: int, stop: int) -> list[Found]:
        """The probes at steps `first` to `stop - 1`."""
        return [found for found in self.found if first <= found["step"] < stop]

    def result(self) -> dict[str, Any]:
        """What the result of the run says of its probes, in plain values.

        The forecast is that of the last probe: a later one knows better, also where it finds that
        the sharpness doesn't grow and nothing is to be forecast.
        """
        last = next((one for one in reversed(self.found) if one["sharpness"] is not None), {})
        said = self.found[-1] if self.found else {}
        sharpness, edge = last.get("sharpness"), last.get("threshold")
        return {
            "sharpness": sharpness,
            "sharpness_share": sharpness / edge if edge else None,
            "top_eigenvalue": self._top(),
            "forecast_step": said.get("forecast_step"),
            "forecast_confidence": said.get("forecast_confidence", "none"),
            "forecast_reason": said.get("forecast_reason", self.trouble or _NO_PROBE),
            "safe_eps": self._safe_eps(),
            "probes": self.found,
        }

    def restore(self, found: Sequence[Mapping[str, Any]], vector: Tensor | None) -> None:
        """Go on from `found` and `vector` as they were."""
        self.found = [dict(one) for one in found]
        self.vector = vector

    def _threshold(self, step: int) -> float | None:
        at = np.array([float(step)])
        edge = float(threshold(self._configuration, self._horizon, at)[0])
        return edge if math.isfinite(edge) else None

    def _top(self) -> float | None:
        """The last top eigenvalue that was measured."""
        known = (one["top_eigenvalue"] for one in reversed(self.found))
        return next((top for top in known if top is not None), None)

    def _probe(self, found: Found) -> Probe:
        share = found["moment_share"]
        share = 1.0 if share is None else min(max(share, 0.0), 1.0)
        top, eps = self._top(), found["eps"]
        ahead: tuple[tuple[float, float], ...] = ()
        if share < _PURE and top is not None and eps:
            # Without the second moment the divisor is eps alone.
            ahead = ((0.0, max(found["lr"] * top / eps, found["sharpness"])),)
        return Probe(found["step"], found["sharpness"], share, ahead)

    def _forecast(self, probe: Probe, earlier: Probe | None) -> Forecast:
        """Over the run's own horizon, then over that of the stress test."""
        stress = min(self._stress, _FARTHEST)
        schedule = self._configuration.schedule
        is_same = schedule.kind == "constant" and (
            schedule.warmup_steps(self._horizon) == schedule.warmup_steps(self._stress)
        )
        own = forecast(
            self._configuration,
            self._horizon,
            probe,
            full_batch=self._is_full_batch,
            earlier=earlier,
            until=stress if is_same else min(self._horizon, _FARTHEST),
        )
        if is_same or own.step is not None or not own.applies or self._stress == self._horizon:
            return own
        stretched = self._stretched(probe)
        if stretched is None:
            return own
        return forecast(
            self._configuration,
            self._stress,
            stretched,
            full_batch=self._is_full_batch,
            earlier=None if earlier is None else self._stretched(earlier),
            until=stress,
        )

    def _stretched(self, probe: Probe) -> Probe | None:
        """The probe as it would be with the schedule stretched over the longer horizon."""
        at = np.array([float(probe.step)])
        own, other = (
            float(course.learning_rate(self._configuration, horizon, at)[0])
            for horizon in (self._horizon, self._stress)
        )
        if own <= 0:
            return None
        ahead = tuple((share, value * other / own) for share, value in probe.ahead)
        return replace(probe, sharpness=probe.sharpness * other / own, ahead=ahead)

    def _safe_eps(self) -> float | None:
        top = self._top()
        if top is None:
            return None
        configuration = self._configuration
        decay = 0.0 if configuration.is_decoupled else float(configuration.values["weight_decay"])
        horizon = min(self._horizon, _FARTHEST)
        # The spectrum has L2 decay in it, which safe_eps adds.
        found = safe_eps(configuration, horizon, top - decay, full_batch=self._is_full_batch)
        return found.value


def _finite(value: Any) -> Any:
    """None for floats that aren't finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
