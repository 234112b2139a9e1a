"""The report of real sweeps: what it says is what the handle says, and it needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_sweep import SPEC, Page, read_page, swept

from sweeper.errors import SweepError
from sweeper.lane import trajectories
from sweeper.results.report import losses, report, style
from sweeper.results.report.facts import Facts, gather
from sweeper.results.report.page import page
from sweeper.results.sweep import SweepHandle
from sweeper.spec import check
from sweeper.study.folder import Folder

EVIL = "<script>alert('x')</script>$\\frac{1}{$ & \"quoted\" \ud800"
PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> SweepHandle:
    return swept(tmp_path_factory.mktemp("report"))


def drawn(facts: Facts) -> Page:
    """The page of some facts."""
    with style.styled():
        return Page(page(facts, report._sections(facts, None, None)))


def test_a_launch_writes_the_report(handle: SweepHandle) -> None:
    folder = handle.folder.path / "report"
    found = read_page(folder / "report.html")
    names = {path.stem for path in folder.glob("*.png")}
    assert names >= {"trajectories", "stability_map", "seeds", "lr_sensitivity", "importance"}
    assert all(path.read_bytes().startswith(PNG) for path in folder.glob("*.png"))
    assert "not finished" not in found.text


def test_the_leaderboard_is_the_ranking(handle: SweepHandle) -> None:
    found = read_page(handle.report())
    head, *rows = found.cells["leaderboard"]
    ranking = handle.ranking()
    assert len(rows) == len(ranking)
    for cells, row in zip(rows, ranking, strict=True):
        said = dict(zip(head, cells, strict=True))
        assert said["rank"] == str(row["rank"])
        assert said["trial"].split()[0] == str(row["trial"])
        assert said["log10 loss"] == f"{row['robust_loss']:.2f}"
        assert said["failed"] == f"{round(row['failure_fraction'] * 2)} of 2"
        assert said["draw-up"] == f"{row['draw_up']:.2f}"
    assert found.tags.count("polyline") == len(ranking)


def test_the_recommendation_stands_beside_the_baseline(handle: SweepHandle) -> None:
    found = read_page(handle.report())
    chosen = handle.recommendation()["evidence"]
    rows = {cells[0]: cells[1:] for cells in found.cells["recommendation"]}
    assert rows["what came of it"] == [
        f"recommended, trial {chosen['trial']}",
        "baseline, trial 0",
    ]
    assert rows["failed in the stress test"][0] == f"0 of {chosen['stress_runs']}"
    assert rows["lr"][1] == "0.001"
    assert f"Recommended: trial {chosen['trial']}" in found.text
    for row in handle.refused():
        assert row["reason"] in found.text


def test_the_budget_is_the_runs(handle: SweepHandle) -> None:
    with closing(handle.folder.database()) as database:
        steps = sum(row.result["steps"] for row in database.runs() if row.result)
        runs = len(database.runs())
    rows = {cells[0]: cells[1:] for cells in read_page(handle.report()).cells["spent"]}
    assert rows["together"][1:] == [str(runs), f"{steps:,}"]
    assert rows["search"][:2] == ["14", "28"]


def test_figures_are_text_and_marks(handle: SweepHandle) -> None:
    found = read_page(handle.report())
    assert found.tags.count("figure") == 5
    for words in ("training loss", "lr", "eps", "failed in the search", "for robust_loss"):
        assert words in found.text
    assert "image" not in found.tags
    assert len(found.ids) == len(set(found.ids))


def test_another_place_and_another_map(handle: SweepHandle, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "found.html"
    assert handle.report(path, x="beta2", y="schedule") == path
    assert "Stability map: 1 - beta2 and schedule" in read_page(path).text
    assert (path.parent / "found-stability_map.png").exists()
    with pytest.raises(SweepError, match=r"'beta3' was not searched.*Did you mean 'beta2'"):
        handle.report(path, x="beta3")


def test_what_cannot_be_written_is_one_message(handle: SweepHandle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SweepError, match="can't write"):
        handle.report(tmp_path / "file" / "report.html")


def test_names_from_the_sweep_are_text(handle: SweepHandle) -> None:
    facts = gather(handle)
    row = {**facts.ranking[0], "config": {**facts.ranking[0]["config"], "no_decay": [EVIL]}}
    refused = {**row, "reason": EVIL, "by": [EVIL], "trial": 1}
    evil = replace(
        facts,
        spec=facts.spec.model_copy(update={"task": EVIL, "task_args": {EVIL: EVIL}}),
        ranking=[row, *facts.ranking[1:]],
        refused=[refused],
        provenance={"versions": {EVIL: EVIL}, "commit": EVIL},
    )
    found = drawn(evil)
    assert "script" not in found.tags
    assert found.text.count("<script>alert('x')</script>") >= 6


@pytest.mark.parametrize("ended", ["interrupted", "failed", None])
def test_an_unfinished_sweep_says_so(handle: SweepHandle, ended: str | None) -> None:
    with closing(handle.folder.database()) as database:
        database.put_meta(ended=ended)
        try:
            found = read_page(handle.report())
        finally:
            database.put_meta(ended="finished")
    assert "This sweep is not finished: " in found.text
    assert "Leaderboard" in found.text


def test_a_sweep_without_a_trial(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "small")
    folder.create(check({**SPEC, "storage": str(tmp_path)}))
    found = read_page(SweepHandle(folder).report())
    assert "No trial has ended yet." in found.text
    assert "figure" not in found.tags


def _nothing_held(facts: Facts) -> Facts:
    return replace(facts, chosen=None, recommendation=None)


def _no_baseline(facts: Facts) -> Facts:
    return replace(facts, ranking=[r for r in facts.ranking if r["origin"] != "baseline"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_nothing_held, "Nothing is recommended"),
        (_no_baseline, "The sweep has no baseline to compare with."),
    ],
)
def test_what_is_missing_is_said(
    handle: SweepHandle, change: Callable[[Facts], Facts], says: str
) -> None:
    assert says in drawn(change(gather(handle))).text


def test_pruned_trials_are_counted_and_shown(handle: SweepHandle) -> None:
    facts = gather(handle)
    last = facts.ranking[-2]["trial"]
    pruned = replace(facts.trials[last], state="PRUNED", result=None, error="pruned")
    found = drawn(
        replace(
            facts,
            trials={**facts.trials, last: pruned},
            ranking=[row for row in facts.ranking if row["trial"] != last],
            status={**facts.status, "pruned": 1},
        )
    )
    assert "1 trials pruned, 0 given up" in found.text


def test_lost_trajectories_cost_their_figure_alone(
    handle: SweepHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: Any) -> None:
        raise SweepError("a part is gone")

    monkeypatch.setattr(losses.trajectories, "read", gone)
    found = drawn(gather(handle))
    assert "The files of the trajectories can't be read" in found.text
    assert found.tags.count("figure") == 4


def test_five_hundred_trials_read_no_more_runs(
    handle: SweepHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = gather(handle)
    known, numbers = facts.ranking, range(500)
    ranking = [
        {**known[n % len(known)], "trial": n, "rank": n + 1, "origin": "search"} for n in numbers
    ]
    originals = [facts.trials[known[n % len(known)]["trial"]] for n in numbers]
    many = replace(
        facts,
        ranking=ranking,
        chosen=ranking[0],
        refused=[],
        trials={n: replace(one, number=n) for n, one in enumerate(originals)},
        runs={n: facts.runs[one.number] for n, one in enumerate(originals)},
        tested={},
    )
    asked: list[Any] = []

    def read(*arguments: Any) -> Any:
        asked.append(arguments)
        return whole(*arguments)

    whole = trajectories.read
    monkeypatch.setattr(losses.trajectories, "read", read)
    found = drawn(many)
    assert "20 of 500 trials" in found.text
    [(_, parts, columns)] = asked
    assert columns == ["loss"]
    assert len({span.run for part in parts for span in part.spans}) <= 4 * 2
    assert len(found.html) < 1_500_000


SWEEPS: dict[str, dict[str, Any]] = {
    "one trial": {"budget": {"trials": 1}, "stress": {"top": 0}},
    "all failed": {
        "space": {"optimizer": "sgd", "lr": {"log_uniform": [10.0, 1e3]}},
        "baseline": {"optimizer": "sgd", "lr": 100.0},
    },
    "several objectives": {
        "task": "digits",
        "task_args": {"hidden": 8},
        "horizon": 60,
        "objective": [{"metric": "held_out_accuracy", "direction": "maximize"}, "robust_loss"],
    },
    "nothing searched": {"space": {"lr": 1e-3}, "budget": {"trials": 1}, "stress": {"top": 0}},
}
SAYS = {
    "one trial": "1 of 1 trials",
    "all failed": "Nothing is recommended: 14 of 14 trials failed",
    "several objectives": "held_out_accuracy (maximize)",
    "nothing searched": "Nothing was searched.",
}


@pytest.mark.parametrize("name", SWEEPS)
def test_sweeps_of_every_kind(name: str, tmp_path: Path) -> None:
    found = swept(tmp_path, **SWEEPS[name])
    written = found.folder.path / "report" / "report.html"
    assert written.exists()
    text = re.sub(r"\s+", " ", read_page(written).text)
    assert SAYS[name] in text


def test_a_report_that_fails_does_not_fail_the_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **more: Any) -> None:
        raise RuntimeError("no paper")

    monkeypatch.setattr(report, "write_report", broken)
    found = swept(tmp_path, budget={"trials": 2}, stress={"top": 0})
    assert found.finished
    assert not (found.folder.path / "report" / "report.html").exists()


def test_thinning_keeps_every_spike() -> None:
    import numpy as np

    steps, values = np.arange(100_000), np.ones(100_000, dtype=np.float32)
    values[[0, 777, 54_321]] = 9.0, 1e6, 1e5
    values[99_990:] = np.nan
    kept, seen = losses.thinned(steps, values)
    assert len(kept) < 500
    assert {0, 777, 54_321} <= set(kept.tolist())
    assert np.isfinite(seen).all()
