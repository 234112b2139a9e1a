"""One measurement of a run's sharpness, and what it says of a later one.

With P = d root + eps, where d is how much is left of the second moment's root,

    1 / S = min over x with x^T H x > 0 of x^T P x / (lr x^T H x),

a minimum of functions linear in d, and so concave in d. Known values of it hence bound all others:
chords from below, the tangent at d = 1 and chords prolonged from above. A single value and its
tangent are exact where eps has the same share in every coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sweeper.optim.array import Array

# Good values of d for `Probe.ahead` where eps matters.
SHARES = (0.3, 0.1, 0.03, 0.01, 0.0)
# A divisor so small that any S is beyond any threshold, and finite.
_SMALLEST = 1e-200


class Bounds(NamedTuple):
    """The factor `[T]` that S grows by: at least, as forecast, and at most."""

    low: Array
    middle: Array
    high: Array


@dataclass(frozen=True, slots=True)
class Probe:
    """One measurement.

    Args:
        step: updates already made, >= 1.
        sharpness: S, lr of the next update times the top eigenvalue of P^-1/2 H P^-1/2, where P is
            what the rule divides by after `step` updates (1 where it divides by nothing) and H has
            L2 weight decay in it.
        moment_share: how much of P along the top eigenvector u (|u| = 1) is the root of the second
            moment and not eps: sum of u_i^2 root_i / (root_i + eps), in [0, 1].
        ahead: pairs of d in [0, 1) and S as it would be now with d root in place of the root,
            each at least `sharpness`. Worth measuring at SHARES where `moment_share` is below
            0.99; at d = 0 it is lr lambda_max(H) over what eps adds to P.
    """

    step: int
    sharpness: float
    moment_share: float = 1.0
    ahead: tuple[tuple[float, float], ...] = ()

    def growth(self, share: Array) -> Bounds:
        """S over what it is now, when a share d `[T]` in [0, 1] of the root is left."""
        known, inverse = self._known()
        chord = np.interp(share, known, inverse)
        tangent = self.moment_share * share + (1 - self.moment_share)
        bound = tangent
        for i in range(1, known.size - 1):
            slope = (inverse[i + 1] - inverse[i]) / (known[i + 1] - known[i])
            line = inverse[i] + slope * (share - known[i])
            bound = np.where(share < known[i], np.minimum(bound, line), bound)
        bound = np.maximum(bound, chord)  # values are measured with some error
        middle = chord if self.ahead else tangent
        low, best, high = (1 / np.maximum(one, _SMALLEST) for one in (bound, middle, chord))
        return Bounds(low, best, high)

    def _known(self) -> tuple[Array, Array]:
        """Known d in ascending order and S now over S there; S is finite but at d = 0."""
        values = {0.0: 0.0, 1.0: 1.0}
        values |= {share: self.sharpness / there for share, there in self.ahead}
        known = np.array(sorted(values))
        return known, np.array([values[share] for share in known])
