"""Every file of search_spaces/ runs, with a budget of two trials and short runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

import sweeper
from sweeper.spec import load

FILES = sorted((Path(__file__).parent.parent / "search_spaces").glob("*.yaml"))
SHORT = (
    "budget={trials: 3}", "seeds=1", "stress.top=0", "lanes.slots=4", "lr_range.settings=2",
    "lr_range.seeds=1", "lr_range.steps=40", "tracking.later=true", "stability.probe=false",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:TORCH_COMPILE_DISABLE")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Compiling is tested elsewhere, and takes longer than all of this.
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    in_epochs = not isinstance(load(path).horizon, int)
    horizon = "horizon={epochs: 1}" if in_epochs else "horizon=60"
    spec = load(path, (*SHORT, horizon), storage=str(tmp_path))
    found = sweeper.launch(spec, local=True, console=Console(quiet=True))
    ranking = found.ranking()
    assert len(ranking) == 3
    assert sum(row["origin"] == "baseline" for row in ranking) == 1
    assert all(row["stable_steps"] > 0 for row in ranking)
