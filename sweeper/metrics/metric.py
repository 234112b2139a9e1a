"""What is said of one metric."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, column or tag.

    Args:
        name: as it stands in a record; `*` stands for any text, such as the name of a setting.
        meaning: in a sentence or less.
        unit: unit and range; "" where the value is no number.
        formula: how it is computed, in the words of docs/metrics.md.
        source: paper or document that it is from, with the section.
    """

    name: str
    meaning: str
    unit: str = ""
    formula: str = ""
    source: str = ""

    def names(self, key: str) -> bool:
        """Whether a key of a record is this one."""
        return fnmatchcase(key, self.name)
