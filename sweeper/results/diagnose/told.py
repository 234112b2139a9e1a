"""A diagnosis in the terminal, and as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.text import Text

from sweeper.optim.configuration import flatten
from sweeper.results.diagnose.diagnosis import Diagnosis
from sweeper.results.diagnose.finding import BAD, OPEN
from sweeper.results.table import setting_text

_MARKS = {BAD: ("✗", "red"), OPEN: ("?", "yellow")}


def describe(found: Diagnosis) -> Iterator[Text]:
    """A paragraph for each finding."""
    evidence = found.evidence
    settings = flatten(evidence.run.config)
    shown = ", ".join(f"{key} {setting_text(value)}" for key, value in settings.items())
    mark = " (baseline)" if evidence.trial["origin"] == "baseline" else ""
    yield Text(f"{evidence.spec.name}, trial {evidence.trial['trial']}{mark}: {shown}", "bold")
    for one in found.findings:
        sign, colour = _MARKS.get(one.kind, ("✓", "green"))
        text = Text(f"\n{sign} ", colour)
        text.append(one.question, "bold")
        text.append(f"\n  {one.says}", "default")
        if one.change:
            text.append("\n  → ", colour)
            text.append(one.change, "default")
        yield text


def as_dict(found: Diagnosis) -> dict[str, Any]:
    """For JSON."""
    evidence = found.evidence
    return {
        "sweep": evidence.spec.name,
        "trial": evidence.trial["trial"],
        "seed": evidence.run.seed,
        "stress": evidence.is_stress,
        "config": evidence.run.config,
        "findings": [asdict(one) for one in found.findings],
    }
