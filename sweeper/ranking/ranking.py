"""The order of trials under a policy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sweeper.errors import SweepError, nearest, one_of
from sweeper.ranking.evidence import Evidence, Row
from sweeper.ranking.policies import KEYS


def rank(
    trials: Iterable[Row], policy: str = "robust", evidence: Evidence | None = None
) -> list[dict[str, Any]]:
    """The trials in order, with `rank` from 1 on; the order of the input doesn't matter.

    Args:
        trials: each with its number `trial` and what the policy reads, see
            sweeper.ranking.policies; a value that is missing or not finite comes last.
        policy: robust, final, best, early or lr_sensitivity.
        evidence: the runs behind them.

    Raises:
        SweepError: unknown policy, or no trial has what it ranks by.
    """
    if policy not in KEYS:
        raise SweepError(
            f"unknown policy {policy!r}", allowed=one_of(KEYS), cure=nearest(policy, KEYS)
        )
    # Numbered from the start: sums over trials are then made in one order.
    known = sorted(trials, key=lambda trial: int(trial["trial"]))
    keys = KEYS[policy](known, evidence or Evidence())
    places = sorted(range(len(known)), key=keys.__getitem__)
    return [
        {"rank": place, **known[index]} | {"rank": place}
        for place, index in enumerate(places, start=1)
    ]
