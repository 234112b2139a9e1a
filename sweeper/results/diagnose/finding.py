"""What a diagnosis says."""

from __future__ import annotations

from dataclasses import dataclass

GOOD, BAD, OPEN = "good", "bad", "open"


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim.

    Args:
        question: of the guide.
        says: the answer with the figures that it is made of.
        change: what to change and by how much; empty where nothing needs to be.
        kind: good, bad or open (it can't be told).
    """

    question: str
    says: str
    change: str = ""
    kind: str = GOOD


def number(value: float) -> str:
    """A figure in a sentence: three digits."""
    if value == 0 or 1e-2 <= abs(value) < 1e5:
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
