"""What a sweep came to, for the terminal: what is recommended, and why tempting ones are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.optim.configuration import flatten
from sweeper.ranking.recommendation import proof

_REFUSED = "Refused: what other rankings put first, and the baseline"


def outcome(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Lines and a table of a recommendation (sweeper.results.sweep)."""
    yield Text(recommended_text(found), style="bold green")
    if found["speed"] is not None:
        yield Text(speed_text(found["speed"]))
    if found["refused"]:
        yield refused_table(found["refused"])


def refused_table(refused: Sequence[Mapping[str, Any]], *, title: str = _REFUSED) -> Table:
    """Trials with what broke."""
    table = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        pad_edge=False,
    )
    table.add_column("trial", justify="right")
    table.add_column("lr", justify="right")
    table.add_column("put first by")
    table.add_column("what broke", style="red")
    for row in refused:
        lr = flatten(row["config"]).get("lr")
        policies = ", ".join(row["by"])
        table.add_row(str(row["trial"]), f"{lr:.3g}", policies, row["reason"])
    return table


def recommended_text(found: Mapping[str, Any]) -> str:
    """What is recommended and how far it held, on one line."""
    proven, evidence = found["proven"], found["evidence"]
    held = proof(evidence, steps=proven["searched_horizon"], stress_steps=proven["horizon"])
    return f"Recommended: trial {evidence['trial']}, {held}"


def speed_text(speed: Mapping[str, Any]) -> str:
    """What it costs in steps to take what holds."""
    own, rival = speed["steps"], speed["tempting_steps"]
    text = f"A loss of {speed['loss']:.2g} takes it about {_steps(own)}"
    said = f"trial {speed['tempting']}, the most tempting one that is refused, {_steps(rival)}"
    return f"{text}; {said}."


def _steps(steps: int | None) -> str:
    return "more than the horizon" if steps is None else f"{steps:,} steps"
