"""The projection of a study's database into MLflow. What was recorded is read from MLflow itself.

It can be killed anywhere and replayed any number of times: a trial has one run, and a run that
has ended as its trial did is complete; any other is logged again, which changes nothing that is
there.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from sweeper import tracking_uri
from sweeper.spec import SweepSpec
from sweeper.study.database import FAIL, PRUNED, STRESS, Database, RunRow, Trial
from sweeper.study.identity import sweep_id
from sweeper.study.standing import chosen, early_step, refused, standing
from sweeper.tracking import backoff, content, notes, trial_table, views
from sweeper.tracking.selection import Selection
from sweeper.tracking.store import Found, Point, Store

_PROGRESS_EVERY_S = 10.0
_NOTES = 200
# The table of all trials is written again after so many times what that took.
_TABLE_EVERY_S, _TABLE_SHARE = 60.0, 50.0
# After each failed attempt to keep an artifact; a launch waits for them.
_WAITS_S = (0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0)
# A folder that isn't there or not ours, a client of a store that isn't installed: so it stays.
_LASTING = (PermissionError, FileNotFoundError, NotADirectoryError, ImportError)
_RANKED = 100
_ENDS = {"finished": "FINISHED", "interrupted": "KILLED"}
_COMPLETE = ("FINISHED", "FAILED", "KILLED")


class Projection:
    """One sweep in MLflow. After an error make a new one: it looks at what has arrived.

    Args:
        database: of the sweep; gets an `id` where it has none.
        spec: of the sweep.
        store: where it is recorded.
    """

    def __init__(self, database: Database, spec: SweepSpec, store: Store) -> None:
        self._database, self._spec, self._store = database, spec, store
        self._sweep_id = sweep_id(database)
        self._log_settings = views.log_settings(spec.parsed_space)
        self._selection = Selection(spec)
        self._experiment = store.experiment(spec.name, self._description)
        self._queue: deque[Trial] = deque()  # told, not looked at yet
        self.told = 0
        self._tests = 0  # told trials of the stress test
        self._noted_at = float("-inf")
        self._table_at = time.monotonic() + _TABLE_EVERY_S
        self._parent, self._children = self._find()
        self._is_open = self._parent.status == "RUNNING"
        self._best: dict[str, Any] | None = None  # the recommended row, at the end
        self._ranking: list[dict[str, Any]] = []  # at the end
        self._reasons: dict[int, str] = {}  # why trials are refused, at the end
        self._noted: dict[str, float] = dict(self._parent.metrics)

    @property
    def recorded(self) -> int:
        """Told trials that MLflow has."""
        return self.told - len(self._queue)

    def reopen(self) -> None:
        """Show the sweep as running."""
        if not self._is_open:
            self._store.reopen(self._parent)
            self._is_open = True

    def record(self, most: int, *, lag_s: float = 0.0) -> int:
        """Record the next told trials, at most `most`; returns how many are left."""
        new = self._database.trials(told_after=self.told)
        self._queue.extend(new)
        self.told += len(new)
        batch = [self._queue[index] for index in range(min(most, len(self._queue)))]
        # A trial of the stress test stands in the run of the one that it tests, at the end.
        mine = {t.number for t in batch if t.origin != STRESS and self._selection.takes(t)}
        whole = self._runs_of([t for t in batch if t.number in mine and not self._has(t)])
        for trial in batch:
            self._tests += trial.origin == STRESS
            if trial.number in whole:
                self.reopen()
                self._record(trial, whole[trial.number])
            self._queue.popleft()
        if time.monotonic() - self._noted_at > self._every_s():
            self._note(lag_s)
        self._attach_table()
        return len(self._queue)

    def finish(self, outcome: str) -> None:
        """End the run of the sweep; with ranks and the best when the outcome is `finished`."""
        # A request that was given up may have arrived meanwhile.
        self._parent, self._children = self._find()
        best = self._rank() if outcome == "finished" else None
        if best is not None and self._parent.tags.get(content.BEST) != best.id:
            self._store.log(self._parent, tags={content.BEST: best.id})
        self._note(0.0, last=True)
        self._attach_results(is_finished=outcome == "finished")
        status = _ENDS.get(outcome, "FAILED")
        if self._is_open or self._parent.status != status:
            self._store.end(self._parent, status)
        self._is_open = False

    @property
    def recommended(self) -> dict[str, Any] | None:
        """The recommended `trial` and its `run`; None before the end, and where nothing held."""
        if self._best is None:
            return None
        return {"trial": self._best["trial"], "run": self._children[self._best["trial"]].id}

    def _description(self, experiment: str) -> dict[str, str]:
        """Tags of the experiment, by its id."""
        note = notes.of_experiment(experiment, self._selection.most)
        return {content.NOTE: note, **views.tags(self._spec)}

    # Trials

    def _has(self, trial: Trial) -> bool:
        known = self._children.get(trial.number)
        return known is not None and known.status == _end_of(trial)

    def _record(self, trial: Trial, runs: Sequence[RunRow]) -> None:
        early = early_step(self._spec, trial.config)
        logs = self._log_settings
        said = content.child(trial, runs, self._sweep_id, self._parent.id, early, logs)
        run = self._children.get(trial.number)
        if run is None:
            run = self._store.create(self._experiment, said.name, said.tags)
        self._store.log(run, said.points, said.params)
        self._store.end(run, _end_of(trial))

    def _runs_of(self, trials: Sequence[Trial]) -> dict[int, list[RunRow]]:
        found: dict[int, list[RunRow]] = {trial.number: [] for trial in trials}
        for row in self._database.runs(found) if found else ():
            found[row.run.trial].append(row)
        return found

    def _rank(self) -> Found | None:
        """Write ranks, stress test and marks; returns the run of the best trial."""
        ranking = self._ranking = standing(self._database, self._spec)
        self._best = chosen(ranking)
        broken = refused(self._database, self._spec)
        self._reasons = {row["trial"]: row["reason"] for row in broken}
        self._complete(ranking)
        self._mark(ranking)
        is_limited = self._selection.most is not None
        for row in ranking:
            run = self._children.get(row["trial"])
            if run is None:
                continue
            # Each costs milliseconds: only the best, the baselines, and what has an older rank.
            is_shown = row["rank"] <= _RANKED or content.BASELINE in run.tags or is_limited
            before = run.metrics.get("rank")
            if before != row["rank"] and (is_shown or before is not None):
                # MLflow shows the value of the largest step: that of the most trials.
                self._store.log_one(run, Point("rank", row["rank"], len(ranking)))
        return self._children.get(ranking[0]["trial"]) if ranking else None

    def _complete(self, ranking: Sequence[dict[str, Any]]) -> None:
        """Give those trials a run that have to have one now that the ranking is known."""
        marked = [*self._reasons, *([self._best["trial"]] if self._best else ())]
        missing = self._selection.of(ranking, marked) - self._children.keys()
        if not missing:
            return
        trials = [trial for trial in self._database.trials() if trial.number in missing]
        runs = self._runs_of(trials)
        for trial in trials:
            self._record(trial, runs[trial.number])
        self._parent, self._children = self._find()

    def _mark(self, ranking: Sequence[dict[str, Any]]) -> None:
        """Write what the stress test found, what is recommended or refused, and the front."""
        for row in ranking:
            run = self._children.get(row["trial"])
            if run is None:
                continue
            points = [p for p in content.stress_points(row) if run.metrics.get(p.name) != p.value]
            tags = content.marks(row, self._best, self._reasons.get(row["trial"]))
            # A mark that isn't right any more is overwritten: trials may have been added since.
            tags |= {key: "false" for key in content.MARKS if key in run.tags and key not in tags}
            changed = {key: value for key, value in tags.items() if run.tags.get(key) != value}
            if points or changed:
                self._store.log(run, points, tags=changed)
        self._describe(ranking, self._best, self._reasons)

    def _describe(
        self,
        ranking: Sequence[dict[str, Any]],
        best: dict[str, Any] | None,
        reasons: dict[int, str],
    ) -> None:
        """Say at the run of the sweep what is recommended and refused."""
        before = self._parent.tags.get(content.NOTE)
        links = {n: views.run_link(self._experiment, run.id) for n, run in self._children.items()}
        said = notes.of_sweep(self._spec, ranking, best, reasons, links)
        if said != before and notes.is_ours(before):
            self._store.log(self._parent, tags={content.NOTE: said})

    # Artifacts

    def _attach_table(self) -> None:
        """Keep the table of all trials with the run of the sweep, where not each has a run."""
        if self._selection.most is None or time.monotonic() < self._table_at:
            return
        began = time.monotonic()
        with suppress(Exception):  # of whatever store; at the end it is tried again, and said
            self._send_table()
        took_s = time.monotonic() - began
        self._table_at = time.monotonic() + max(_TABLE_EVERY_S, _TABLE_SHARE * took_s)

    def _send_table(self) -> None:
        marks = dict(self._reasons)
        if self._best is not None:
            marks[self._best["trial"]] = "recommended"
        text = trial_table.table(self._database.trials(), self._ranking, marks)
        self._store.attach_text(self._parent, trial_table.NAME, text)

    def _attach_results(self, *, is_finished: bool) -> None:
        """Keep table, report, recommendation with the run of the sweep, or say there why not."""
        left, waits, said = self._results() if is_finished else [], iter(_WAITS_S), "kept"
        if self._selection.most is not None:
            left.insert(0, self._send_table)
        while left:
            try:
                left[0]()
                del left[0]
                waits = iter(_WAITS_S)
            # A server may keep its artifacts where this machine must not write, or in a store
            # whose client or keys it lacks: any error. They are in the folder of the sweep, too.
            except Exception as error:
                wait_s = None if isinstance(error, _LASTING) else next(waits, None)
                if wait_s is None:
                    uri = tracking_uri.resolve(self._spec.tracking.uri)
                    said = f"not kept: {backoff.said(error, uri)}"
                    break
                time.sleep(wait_s)
        if self._parent.tags.get(content.ARTIFACTS, "kept") != said:
            self._store.log(self._parent, tags={content.ARTIFACTS: said})

    def _results(self) -> list[Callable[[], None]]:
        """Sends each of them."""
        send, parent, folder = self._store.attach_file, self._parent, self._spec.folder
        files = sorted((folder / "report").glob("*"))
        report: list[Callable[[], None]] = [partial(send, parent, f, "report") for f in files]
        if self._best is None:  # recommended.json is of an earlier, shorter sweep
            return report
        run = self._children[self._best["trial"]]
        config = json.dumps(self._best["config"], indent=2)
        return [
            partial(send, parent, folder / "recommended.json"),
            partial(self._store.attach_text, run, "config.json", config),
            *report,
        ]

    # The run of the sweep

    def _find(self) -> tuple[Found, dict[int, Found]]:
        """The run of the sweep, made where it is missing, and those of its trials."""
        runs = self._store.runs(self._experiment, content.SWEEP_ID, self._sweep_id)
        parents = [run for run in runs if content.TRIAL not in run.tags]
        parent = self._complete_parent(parents[0] if parents else None)
        children: dict[int, Found] = {}
        for run in runs:
            if content.TRIAL in run.tags:
                self._adopt(run, parent, children)
        for run in parents[1:]:
            self._store.delete(run)
        return parent, children

    def _adopt(self, run: Found, parent: Found, children: dict[int, Found]) -> None:
        """Take a run for that of its trial: the complete one, else the first, is kept."""
        number = int(run.tags[content.TRIAL])
        rival = children.get(number)
        if rival is not None:
            keeps = rival.status in _COMPLETE or run.status not in _COMPLETE
            run, spare = (rival, run) if keeps else (run, rival)
            self._store.delete(spare)
        if run.tags.get(content.PARENT) != parent.id:
            self._store.log(run, tags={content.PARENT: parent.id})
        children[number] = run

    def _complete_parent(self, parent: Found | None) -> Found:
        tags = content.sweep_tags(self._spec, self._sweep_id)
        params = content.sweep_params(self._spec)
        if parent is None:
            parent = self._store.create(self._experiment, self._spec.name, tags)
        changed = {key: value for key, value in tags.items() if parent.tags.get(key) != value}
        if changed or set(params) - set(parent.params):
            self._store.log(parent, (), params, changed)
        return parent

    def _every_s(self) -> float:
        """Seconds between two notes: more and more, or a sweep of weeks had 100,000 of them."""
        age_s = time.time() - self._parent.started / 1000
        return max(_PROGRESS_EVERY_S, age_s / _NOTES)

    def _note(self, lag_s: float, *, last: bool = False) -> None:
        """Write the progress where it changed; of the lag alone only that there is none now."""
        self._noted_at = time.monotonic()
        values = {
            "told": self.told - self._tests,
            "stress_tests": self._tests,
            "trials": self._spec.budget.trials,
            "run_steps": self._database.run_steps(self.told),
            "tracker_lag_s": round(lag_s, 1),
        }
        if not last and self._database.meta("ended") is None:
            values |= content.health(self._database.meta("health") or {})
        is_last_word = last or values["tracker_lag_s"] == 0
        watched = values if is_last_word else set(values) - {"tracker_lag_s"}
        if any(self._noted.get(key) != values[key] for key in watched):
            points = [Point(key, value, self.told) for key, value in values.items()]
            self._store.log(self._parent, points, at=round(time.time() * 1000))
            self._noted = values


def _end_of(trial: Trial) -> str:
    """How the run of a told trial ends."""
    return {FAIL: "FAILED", PRUNED: "KILLED"}.get(trial.state, "FINISHED")
