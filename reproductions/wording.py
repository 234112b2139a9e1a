"""Numbers as the page writes them."""

from __future__ import annotations

from collections.abc import Sequence


def loss(value: float | None) -> str:
    """1.2e-3; a dash where there is none."""
    if value is None or value != value:
        return "-"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def step(value: int | None) -> str:
    """12,345."""
    return "-" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """A signed share."""
    return "-" if value is None else f"{100 * value:+.1f} %"


def span(values: Sequence[int]) -> str:
    """The range of some steps."""
    if not values:
        return "-"
    low, high = min(values), max(values)
    return step(low) if low == high else f"{low:,} to {high:,}"


def plural(count: int, noun: str) -> str:
    """1 run, 2 runs."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listing(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
