"""At which of its steps a run is probed: a pure function of its horizon, warm-up and task."""

from __future__ import annotations

import math

from sweeper.lane.pack import SAMPLE_EVERY
from sweeper.stability.verdict import RunFacts

# A probe costs about as much as 90 steps, on the smallest model: 9 % of the training together.
_STEPS_A_PROBE = 1000
_MOST = 20
# Runs of so many steps give up one probe for the spectrum of H at their first.
_WITH_SPECTRUM = 4000
# Probes end here: what they say must lie ahead.
_LAST_SHARE = 0.8
# Of a full-batch run each probe comes when the run is twice as old at most: there are two, which
# make a forecast, by half of any onset later than a fifth of the horizon.
_MOST_GROWTH = 2.0


def probe_steps(facts: RunFacts, *, full_batch: bool) -> tuple[int, ...]:
    """Updates made before each probe, ascending multiples of SAMPLE_EVERY; none for short runs.

    They are log-spaced from the end of the grace on: what a forecast needs is early.
    """
    count = min(facts.horizon // _STEPS_A_PROBE - has_spectrum(facts), _MOST)
    start = max(math.ceil(facts.grace / SAMPLE_EVERY), 1) * SAMPLE_EVERY
    last = _LAST_SHARE * facts.horizon
    if count < 1 or start > last:
        return ()
    growth = (last / start) ** (1 / max(count - 1, 1))
    if full_batch:
        growth = min(growth, _MOST_GROWTH)
    spaced = (start * growth**place for place in range(count))
    return tuple(sorted({round(step / SAMPLE_EVERY) * SAMPLE_EVERY for step in spaced}))


def has_spectrum(facts: RunFacts) -> bool:
    """Whether probes of a run may measure the spectrum of H beside the sharpness."""
    return facts.horizon >= _WITH_SPECTRUM
