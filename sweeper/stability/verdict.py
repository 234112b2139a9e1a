"""The verdict on one run, chunk by chunk from its full-resolution training loss.

Words, with `L[0..T)` the loss, magnitudes above 1e300 counting as 1e300:

- `s` is L itself on the full batch, else a trailing mean over one epoch (at least 50, at most T/20
  steps; over the steps there are at the start). It is lifted to `floor`, a share of |L[0]|.
- `best` is the running minimum of s from step 0 on.
- From the first negative loss on s is not lifted any more and has no decades to climb.

A run fails where it first is non-finite, at any step; and after the grace (steps < 5 % of T or
the warm-up, whichever is longer) where s

- climbs: log10 s - log10 best >= `climb`;
- gives back: (s - best) / (L[0] - best) > `give_back` for `hold` = max(50, T/200) steps in a row.
  The progress below the line is at least the floor and what the rounding of a mean comes to;
- is hopeless, and not waited for: s, not lifted, > 10 L[0] for 5 % of T in a row, where L[0] > 0.

`onset` is the first step of the failing excursion, the earliest of all; streaks start after the
grace too. `draw_up` is the most decades climbed, `give_back` the largest ratio held for `hold`
steps (at most 1e9), both after the grace. `tail_loss` is the mean of the largest 10 % of L in the
tail; a run that ended early or hopeless has none. `spike_score` and `upward_spike_score` are those
of sweeper.stability.spikes. Memory is O(window + 2 % of T).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.stability.limits import Limits
from sweeper.stability.rolling import rolling_min, streak_lengths, trailing_mean
from sweeper.stability.spikes import SpikeCounter

# An excursion above 10 L[0] that lasts this share of the horizon is not waited for.
_HOPELESS_FACTOR, _HOPELESS_SHARE = 10.0, 0.05
_GRACE_SHARE = 0.05
_WORST_SHARE = 0.1
_TINY = float(np.finfo(np.float64).tiny)
_HUGE = 1e300
# Progress below this share of L[0] can't be told from the rounding of a trailing mean.
_MEAN_ROUNDING = 1e-12


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
        self.hopeless_streak = 0  # stays once it is long enough
        self.recent = np.empty(0)  # losses of the trailing window
        self.ratios = np.empty(0)  # give-back ratios of the last hold - 1 steps
        self.worst = np.empty(0)  # the largest losses of the tail
        self.spikes = SpikeCounter(facts.floor)

    @property
    def hopeless(self) -> bool:
        """Whether s stayed above 10 L[0] for 5 % of the horizon after the grace."""
        return self.hopeless_streak >= self._hopeless_hold

    @property
    def failed(self) -> bool:
        return self.onset is not None

    def update(self, losses: np.ndarray) -> None:
        """Take the next losses, `[n]`.

        Nothing counts from the first non-finite one on, or after the step that made it hopeless.
        """
        if not self.finite or self.hopeless:
            return
        losses = np.asarray(losses, dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(losses))
        whole = np.clip(losses[: bad[0]] if bad.size else losses, -_HUGE, _HUGE)
        negative = np.flatnonzero(whole < 0)
        cut = int(negative[0]) if negative.size and not self.has_negative else 0
        for piece in (whole[:cut], whole[cut:]):
            if piece.size and not self.hopeless:
                with np.errstate(over="ignore"):
                    self._take(piece)
        if bad.size and not self.hopeless:
            self.finite = False
            self._fail(self.steps)

    @property
    def _hopeless_hold(self) -> int:
        return max(1, round(_HOPELESS_SHARE * self.facts.horizon))

    def _take(self, losses: np.ndarray) -> None:
        """Take finite losses, all before the first negative one or all from it on."""
        if self.steps == 0:
            self.first = float(losses[0])
            self.best_loss = self.first
        smooth = self._smooth(losses)
        count = self._watch_hopeless(smooth)
        losses, smooth = losses[:count], smooth[:count]
        self.best_loss = min(self.best_loss, float(losses.min()))
        self.final_loss = float(losses[-1])
        self.has_negative = self.has_negative or bool(losses[0] < 0)
        lifted = smooth if self.has_negative else np.maximum(smooth, self._floor)
        best = np.minimum.accumulate(np.concatenate([[self.best], lifted]))[1:]
        self.best = float(best[-1])
        after = max(0, self.facts.grace - self.steps)
        if after < losses.size:
            self._climb(lifted[after:], best[after:], self.steps + after)
            self._give_back(lifted[after:], best[after:], self.steps + after)
        self._tail(losses)
        self.spikes.update(losses)
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
        least = max(self._floor, _TINY)
        if self.facts.window > 1:
            least = max(least, _MEAN_ROUNDING * abs(self.first))
        progress = np.maximum(self.first - best, least)
        ratios = np.minimum((smooth - best) / progress, 1e9)  # finite, so that it can be stored
        # The largest ratio that was held for `hold` steps is the maximum of a rolling minimum.
        known = np.concatenate([self.ratios, ratios])
        if known.size >= hold:
            self.give_back = max(self.give_back, float(rolling_min(known, hold).max()))
        self.ratios = known[-(hold - 1) :]
        streaks = streak_lengths(ratios > self.limits.give_back, self.streak)
        self.streak = int(streaks[-1])
        self._fail_if_held(streaks, hold, start)

    def _watch_hopeless(self, smooth: np.ndarray) -> int:
        """How many of these steps count: those up to the one that makes it hopeless."""
        after = max(0, self.facts.grace - self.steps)
        if self.first <= 0 or after >= smooth.size:
            return smooth.size
        over = smooth[after:] > _HOPELESS_FACTOR * self.first
        streaks = streak_lengths(over, self.hopeless_streak)
        held = self._fail_if_held(streaks, self._hopeless_hold, self.steps + after)
        last = -1 if held is None else held
        self.hopeless_streak = int(streaks[last])
        return smooth.size if held is None else after + held + 1

    def _fail_if_held(self, streaks: np.ndarray, hold: int, start: int) -> int | None:
        """Fail at the first step of the first streak that gets `hold` long; says where it did."""
        held = np.flatnonzero(streaks >= hold)
        if not held.size:
            return None
        first = int(held[0])
        self._fail(start + first - int(streaks[first]) + 1)
        return first

    @property
    def _floor(self) -> float:
        return self.facts.floor * abs(self.first)

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
        has_tail = self.steps >= self.facts.horizon and self.finite and not self.hopeless
        return {
            "steps": self.steps,
            "finite": self.finite,
            "hopeless": self.hopeless,
            "negative": self.has_negative,
            "failed": self.failed,
            "first_loss": _plain(self.first),
            "best_loss": _plain(self.best_loss),
            "final_loss": _plain(self.final_loss) if self.finite else None,
            "tail_loss": float(self.worst.mean()) if has_tail else None,
            "floor": self._floor if self.steps else 0.0,
            "draw_up": self.draw_up,
            "give_back": self.give_back,
            **self.spikes.result(),
            "onset_step": self.onset,
            "stable_steps": self.steps if self.onset is None else self.onset,
        }

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain values and arrays from which `restore` goes on."""
        spikes, losses = self.spikes.state()
        arrays = {"recent": self.recent, "ratios": self.ratios, "worst": self.worst}
        skip = {"facts", "limits", "spikes", *arrays}
        values = {k: v for k, v in vars(self).items() if k not in skip}
        return {**values, "spikes": spikes}, {**arrays, "spikes": losses}

    def restore(self, values: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Go on from a saved state; the further results are the same as without the break.

        A state without spikes, as older versions saved it, has them counted from here on.
        """
        values, arrays = dict(values), dict(arrays)
        spikes, losses = values.pop("spikes", None), arrays.pop("spikes", np.empty(0))
        self.spikes = SpikeCounter(self.facts.floor, first=values["first"])
        if spikes is not None:
            self.spikes.restore(spikes, losses)
        vars(self).update(values)
        vars(self).update(arrays)


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None
