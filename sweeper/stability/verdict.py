"""The verdict on one run, chunk by chunk from its full-resolution training loss.

Words, with `L[0..T)` the loss: `s` is L itself on the full batch, else a trailing mean over one
epoch (at least 50, at most T/20 steps); `best` the running minimum of max(s, floor). After the
grace (5 % of T or the warm-up, whichever is longer) a run fails if s climbs `climb` decades above
best, gives back more than `give_back` of s[0] - best for `hold` steps in a row, or turns
non-finite (at any step). Memory is O(window + 2 % of T).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.stability.limits import Limits
from sweeper.stability.rolling import rolling_min, streak_lengths, trailing_mean

# An excursion above 10 L[0] that lasts this share of the horizon is not waited for.
_HOPELESS_FACTOR, _HOPELESS_SHARE = 10.0, 0.05
_GRACE_SHARE = 0.05
_WORST_SHARE = 0.1
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a verdict must know of a run beforehand.

    Args:
        horizon: T, steps.
        warmup: steps of warm-up.
        epoch_steps: steps of an epoch; 1 for the full batch.
        floor: smallest loss that is not rounding, as a share of L[0].
    """

    horizon: int
    warmup: int
    epoch_steps: int
    floor: float

    @property
    def grace(self) -> int:
        return max(round(_GRACE_SHARE * self.horizon), self.warmup)

    @property
    def hold(self) -> int:
        return max(50, self.horizon // 200)

    @property
    def window(self) -> int:
        """Steps of the trailing mean; 1 for the full batch."""
        if self.epoch_steps == 1:
            return 1
        return max(1, min(max(self.epoch_steps, 50), self.horizon // 20))

    def tail_start(self, limits: Limits) -> int:
        return self.horizon - max(1, round(limits.tail * self.horizon))


class Verdict:
    """Judges a run while it goes. Feed it every loss once, in order, in chunks of any length.

    The result doesn't depend on how the losses are cut into chunks, up to rounding of the trailing
    mean on mini-batch tasks.
    """

    def __init__(self, facts: RunFacts, limits: Limits) -> None:
        self.facts, self.limits = facts, limits
        self.steps = 0
        self.first = self.best_loss = self.final_loss = float("nan")
        self.finite = True
        self.has_negative = False
        self.best = float("inf")
        self.draw_up = self.give_back = 0.0
        self.onset: int | None = None
        self.streak = 0  # steps in a row above the give-back limit
        self.hopeless_streak = 0
        self.recent = np.empty(0)  # losses of the trailing window
        self.ratios = np.empty(0)  # give-back ratios of the last hold - 1 steps
        self.worst = np.empty(0)  # the largest losses of the tail

    @property
    def hopeless(self) -> bool:
        """Whether s stayed above 10 L[0] for 5 % of the horizon after the grace."""
        return self.hopeless_streak >= max(1, round(_HOPELESS_SHARE * self.facts.horizon))

    @property
    def failed(self) -> bool:
        return self.onset is not None

    def update(self, losses: np.ndarray) -> None:
        """Take the next losses, `[n]`; stops at the first non-finite one."""
        losses = np.asarray(losses, dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(losses))
        whole = losses if not bad.size else losses[: bad[0]]
        if whole.size:
            with np.errstate(over="ignore"):
                self._take(whole)
        if bad.size and self.finite:
            self.finite = False
            self._fail(self.steps)

    def _take(self, losses: np.ndarray) -> None:
        if self.steps == 0:
            self.first = float(losses[0])
            self.best_loss = self.first
        self.best_loss = min(self.best_loss, float(losses.min()))
        self.final_loss = float(losses[-1])
        smooth = self._smooth(losses)
        self.has_negative = self.has_negative or bool((losses < 0).any())
        floor = self.facts.floor * abs(self.first)
        lifted = smooth if self.has_negative else np.maximum(smooth, floor)
        best = np.minimum.accumulate(np.concatenate([[self.best], lifted]))[1:]
        self.best = float(best[-1])
        after = max(0, self.facts.grace - self.steps)
        if after < losses.size:
            self._climb(lifted[after:], best[after:], self.steps + after)
            self._give_back(lifted[after:], best[after:], self.steps + after)
            self._watch_hopeless(smooth[after:])
        self._tail(losses)
        self.steps += losses.size

    def _smooth(self, losses: np.ndarray) -> np.ndarray:
        """s: the trailing mean over the steps there are, at most `window`."""
        window = self.facts.window
        if window == 1:
            return losses
        known = np.concatenate([self.recent, losses])
        means = trailing_mean(known, window)[self.recent.size :]
        self.recent = known[-(window - 1) :]
        return means

    def _climb(self, smooth: np.ndarray, best: np.ndarray, start: int) -> None:
        if self.has_negative:  # no logarithm of such losses
            return
        decades = np.log10(np.maximum(smooth, _TINY)) - np.log10(np.maximum(best, _TINY))
        self.draw_up = max(self.draw_up, float(decades.max()))
        over = np.flatnonzero(decades >= self.limits.climb)
        if over.size:
            self._fail(start + int(over[0]))

    def _give_back(self, smooth: np.ndarray, best: np.ndarray, start: int) -> None:
        hold = self.facts.hold
        progress = np.maximum(self.first - best, max(self.facts.floor * abs(self.first), _TINY))
        ratios = np.minimum((smooth - best) / progress, 1e9)  # finite, so that it can be stored
        # The largest ratio that was held for `hold` steps is the maximum of a rolling minimum.
        known = np.concatenate([self.ratios, ratios])
        if known.size >= hold:
            self.give_back = max(self.give_back, float(rolling_min(known, hold).max()))
        self.ratios = known[-(hold - 1) :]
        self._find_sustained(ratios > self.limits.give_back, start)

    def _find_sustained(self, over: np.ndarray, start: int) -> None:
        streaks = streak_lengths(over, self.streak)
        self.streak = int(streaks[-1])
        held = np.flatnonzero(streaks >= self.facts.hold)
        if held.size:
            first = int(held[0])
            self._fail(start + first - int(streaks[first]) + 1)

    def _watch_hopeless(self, smooth: np.ndarray) -> None:
        if self.hopeless or self.first <= 0:
            return
        streaks = streak_lengths(smooth > _HOPELESS_FACTOR * self.first, self.hopeless_streak)
        self.hopeless_streak = int(max(streaks[-1], streaks.max() if self._long(streaks) else 0))

    def _long(self, streaks: np.ndarray) -> bool:
        return int(streaks.max()) >= max(1, round(_HOPELESS_SHARE * self.facts.horizon))

    def _tail(self, losses: np.ndarray) -> None:
        start = self.facts.tail_start(self.limits)
        tail = losses[max(0, start - self.steps) :]
        if tail.size:
            count = max(1, round(_WORST_SHARE * (self.facts.horizon - start)))
            self.worst = np.sort(np.concatenate([self.worst, tail]))[-count:]

    def _fail(self, step: int) -> None:
        self.onset = step if self.onset is None else min(self.onset, step)

    def result(self) -> dict[str, Any]:
        """The verdict in plain values; None where a number doesn't exist."""
        ended = self.steps >= self.facts.horizon
        return {
            "steps": self.steps,
            "finite": self.finite,
            "hopeless": self.hopeless,
            "negative": self.has_negative,
            "failed": self.failed or self.hopeless,
            "first_loss": _plain(self.first),
            "best_loss": _plain(self.best_loss),
            "final_loss": _plain(self.final_loss) if self.finite else None,
            "tail_loss": float(self.worst.mean()) if ended and self.worst.size else None,
            "floor": self.facts.floor * abs(self.first) if self.steps else 0.0,
            "draw_up": self.draw_up,
            "give_back": self.give_back,
            "onset_step": self.onset,
            "stable_steps": self.steps if self.onset is None else self.onset,
        }

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain values and arrays from which `restore` goes on."""
        arrays = {"recent": self.recent, "ratios": self.ratios, "worst": self.worst}
        skip = {"facts", "limits", *arrays}
        return {k: v for k, v in vars(self).items() if k not in skip}, arrays

    def restore(self, values: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Go on from a saved state; the further results are the same as without the break."""
        vars(self).update(values)
        vars(self).update(arrays)


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None
