"""What warm-up, schedule, eps and beta2 do to LR sensitivity: pairs that differ in one alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reproductions import wording
from reproductions.lr_sensitivity.curves import CHOICES, Curve, Setting

# A difference counts from so many standard errors on.
_ERRORS = 3.0
_NAMES = {
    "schedule": "cosine instead of constant",
    "warmup": "linear warm-up over a tenth of the steps",
    "eps": f"eps {CHOICES['eps'][1]:g} instead of {CHOICES['eps'][0]:g}",
    "beta2": f"beta2 {CHOICES['beta2'][1]:g} instead of {CHOICES['beta2'][0]:g}",
}


@dataclass(frozen=True, slots=True)
class Effect:
    """What a factor's second value changes.

    Args:
        factor: field of Setting.
        changes: of LRS in nats, `[pairs, seeds]`.
        settings: with the first value, by pair.
    """

    factor: str
    changes: np.ndarray
    settings: tuple[Setting, ...]

    @property
    def error(self) -> float:
        """Standard error of a pair's mean, pooled over pairs; infinite with one seed."""
        if self.changes.shape[1] < 2:
            return float("inf")
        variance = self.changes.var(axis=1, ddof=1).mean()
        return float(np.sqrt(variance / self.changes.shape[1]))

    @property
    def lower(self) -> int:
        """Pairs in which LRS is lower beyond the error."""
        return int((self.changes.mean(1) < -_ERRORS * self.error).sum())

    @property
    def higher(self) -> int:
        """Pairs in which it is higher."""
        return int((self.changes.mean(1) > _ERRORS * self.error).sum())

    @property
    def verdict(self) -> str:
        """Of the claim that the factor lowers LRS."""
        if not self.lower and not self.higher:
            return "not decided by the spread"
        if not self.higher and self.lower > len(self.settings) / 2:
            return "reproduced"
        if not self.lower and self.higher > len(self.settings) / 2:
            return "not reproduced: it is the other way round"
        return "reproduced in some pairs only" if self.lower else "not reproduced"


def effects(curves: Sequence[Curve]) -> list[Effect]:
    """Of every factor that the curves vary."""
    known = {curve.setting: curve.sensitivity for curve in curves}
    found = []
    for factor, (common, other) in CHOICES.items():
        changed = {
            setting: replace(setting, **{factor: other})
            for setting in known
            if getattr(setting, factor) == common
        }
        pairs = [(setting, to) for setting, to in changed.items() if to in known]
        if pairs:
            changes = np.array([known[to] - known[setting] for setting, to in pairs])
            found.append(Effect(factor, changes, tuple(setting for setting, _ in pairs)))
    return found


def lines(found: Sequence[Effect]) -> str:
    """A list of what every factor changes."""
    return "\n".join(f"- {_line(effect)}" for effect in found)


def _line(effect: Effect) -> str:
    means, count = effect.changes.mean(1), len(effect.settings)
    undecided = count - effect.lower - effect.higher
    largest = int(np.abs(means).argmax())
    name = _NAMES[effect.factor]
    return (
        f"**{name[0].upper()}{name[1:]}**: {means.mean():+.3f} nats in the mean (a pair's "
        f"standard error: {_error(effect)}); lower in {effect.lower}, higher in {effect.higher} "
        f"of {wording.plural(count, 'pair')}, {undecided} not decided. The largest change of a "
        f"pair is {means[largest]:+.3f} ({told(effect.settings[largest], effect.factor)})."
    )


def _error(effect: Effect) -> str:
    return f"{effect.error:.3f}" if np.isfinite(effect.error) else "unknown"


def told(setting: Setting, but: str = "") -> str:
    """The setting in words, without one factor."""
    words = {
        "schedule": setting.schedule,
        "warmup": "warm-up" if setting.warmup else "no warm-up",
        "eps": f"eps {setting.eps:g}",
        "beta2": f"beta2 {setting.beta2:g}",
    }
    return ", ".join(word for factor, word in words.items() if factor != but)
