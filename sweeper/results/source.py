"""Where the results of a sweep come from: its folder, or a tracking server alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sweeper.ranking.objectives import Objective


class Source(Protocol):
    """The ranked trials of a sweep, see results.sweep.SweepHandle and results.tracked."""

    @property
    def name(self) -> str: ...

    @property
    def finished(self) -> bool: ...

    @property
    def horizon_text(self) -> str: ...

    @property
    def objectives(self) -> tuple[Objective, ...]: ...

    @property
    def recommended_trial(self) -> int | None: ...

    def ranking(self, by: str = "robust") -> list[dict[str, Any]]: ...


def open_sources(names: Sequence[str], storage: str, tracking: str | None) -> list[Source]:
    """The sweeps of these names, each once.

    Args:
        storage: folder of all sweeps.
        tracking: URI of an MLflow server or database, which is read in place of the folders.

    Raises:
        SweepError: there is no such sweep or no such server.
    """
    wanted = list(dict.fromkeys(names))
    if tracking is None:
        from sweeper.results.sweep import SweepHandle
        from sweeper.study.folder import find

        return [SweepHandle(find(name, storage)) for name in wanted]
    from sweeper.results.tracked import TrackedSweep
    from sweeper.tracking.reading import Reader

    reader = Reader(tracking)
    return [TrackedSweep(reader.sweep(name)) for name in wanted]
