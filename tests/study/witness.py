"""The witness of a simulation: sees every commit, report and answer, and knows the promises."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lease_model import LeaseModel, promise
from simulated_storage import Fate, SimulatedStorage

from sweeper.lane.protocol import Answer, Report
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Span
from sweeper.spec import SweepSpec
from sweeper.study.database import COMPLETE, FAIL, STRESS, Change, Trial
from sweeper.study.stress import FIRST_RUN, FIRST_TRIAL


@dataclass(slots=True)
class Known:
    """What was committed of a run."""

    run: Run
    step: int = 0
    row_file: str | None = None
    result: Mapping[str, Any] | None = None
    deaths: int = 0
    spans: list[tuple[str, Span]] = field(default_factory=list)
    granted_to: str = ""  # or reported by: the last one
    granted_at: int = 0  # the number of the report that was answered so


class Witness:
    """Raises Violation where a promise is broken.

    Args:
        spec: of the sweep, as it is now.
        storage: of the sweep.
        fate: of a run.
        causes: why processes ended, as far as they have.
    """

    def __init__(
        self,
        spec: SweepSpec,
        storage: SimulatedStorage,
        fate: Callable[[Run], Fate],
        causes: Mapping[str, str],
    ) -> None:
        self.spec, self.storage, self._fate, self._causes = spec, storage, fate, causes
        self.runs: dict[int, Known] = {}
        self.trials: dict[int, Trial] = {}
        self.told: dict[int, int] = {}  # place by trial
        self.leases = LeaseModel()
        self.tainted: set[str] = set()  # processes of which a report may be refused
        self.unlucky = 0
        self.is_closing = False
        self.blames = 0  # deaths that may be counted
        self._runs_of: dict[int, list[Known]] = {}  # by trial
        self._users: Counter[str | None] = Counter()  # of row files
        self._report: Report | None = None
        self._begun: object = None  # what is being written
        self._reporter: Report | None = None  # whose report is
        self._owners: dict[int, str] = {}
        self._study_began = self._elapsed_before = self._elapsed = self._spent_s = 0.0

    # Studies and processes

    def new_study(self, now: float) -> None:
        self.leases, self._study_began, self.is_closing = LeaseModel(), now, False
        self._elapsed_before, self._begun = self._elapsed, None

    def failed(self, process: str) -> None:
        """The study is told that a process failed."""
        self.leases.remove(process)
        self.blames += 1

    def explained(self) -> None:
        """The study was told why a process died, and that its runs may be to blame."""
        self.blames += 1

    # Commits

    def begins(self, what: object, now: float) -> None:
        """Something is about to be written, perhaps once more."""
        if self._begun != what:
            self._begun, self._reporter = what, self._report
            self._spent_s = self._elapsed_before + now - self._study_began

    def added(self, trials: Sequence[Trial], runs: Sequence[Run]) -> None:
        self._begun, budget = None, self.spec.budget
        tests = [trial for trial in self.trials.values() if trial.origin == STRESS]
        is_test = any(trial.origin == STRESS for trial in trials)
        first_trial, first_run = (FIRST_TRIAL, FIRST_RUN) if is_test else (0, 0)
        before = len(tests) if is_test else len(self.trials) - len(tests)
        for number, trial in enumerate(trials, start=first_trial + before):
            promise((trial.origin == STRESS) == is_test, "two kinds of trials at once")
            promise(trial.number == number, "trial", trial.number, "out of order")
            self.trials[trial.number] = trial
        known_runs = sum((run >= FIRST_RUN) == is_test for run in self.runs)
        for run_id, run in enumerate(runs, start=first_run + known_runs):
            promise(run.id == run_id, "run", run.id, "out of order")
            known = self.runs[run.id] = Known(run)
            self._runs_of.setdefault(run.trial, []).append(known)
        if is_test:
            searched = [t for t in self.trials.values() if t.origin != STRESS]
            promise(all(t.number in self.told for t in searched), "tested before all were told")
            return
        promise(before + len(trials) <= budget.trials, "more trials than the budget has")
        if budget.run_steps is not None:
            steps = sum(known.step for known in self.runs.values())
            promise(steps < budget.run_steps, "a trial was started beyond the run-steps")
        if budget.time is not None:
            promise(self._spent_s < budget.time, "a trial was started beyond the time")

    def recorded(self, change: Change) -> None:
        report, self._begun = self._reporter, None
        self._elapsed = change.meta.get("elapsed_s", self._elapsed)
        for run in change.reset:
            self._reset(run)
        steps = {run: int(result["steps"]) for run, result in change.done.items()}
        promise(report is not None or not (steps or change.saved), "a report without a say counts")
        for run, step in {**change.saved, **steps}.items():
            process = report.who.process if report else "somebody who is gone"
            owner = self.leases.owner.get(run, process)
            promise(owner == process, f"{process} reported run {run}, which {owner} has")
            self._move(run, step, change)
            self.runs[run].granted_to, self.runs[run].granted_at = process, -1
        for run, step in change.saved.items():
            row_file = change.row_file or ""
            # A lane may wake up with a report that was taken, and its row file called lost, since.
            there = self.storage.rows.get(row_file, {}).get(run, (None, 0))
            is_there = there[0] == step or row_file in self.storage.failed
            promise(is_there, f"run {run} is not at step {step} in {row_file}")
            self._name(run, row_file)
        for run, result in change.done.items():
            self._end(run, result)
        if any(change.deaths.values()):
            promise(self.blames > 0, f"{change.deaths} are blamed for nothing")
            self.blames -= 1
        for run, deaths in change.deaths.items():
            self.runs[run].deaths = deaths
        for trial in change.told:
            self._tell(trial, change)

    def _reset(self, run: int) -> None:
        known = self.runs[run]
        is_lost = known.row_file is None or known.row_file in self.storage.failed
        promise(is_lost, f"run {run} starts anew though {known.row_file} can be read")
        promise(known.result is None, f"run {run} starts anew after its end")
        self._name(run, None)
        known.step, known.spans = 0, []

    def _move(self, run: int, step: int, change: Change) -> None:
        known = self.runs[run]
        promise(known.result is None, f"run {run} was reported after its end")
        promise(known.run.trial not in self.told, f"run {run} was reported after its trial's end")
        promise(step >= known.step, f"run {run} went back from {known.step} to {step}")
        for span in change.part.spans if change.part else ():
            if span.run == run:
                assert change.part is not None
                known.spans.append((change.part.path, span))
        known.step = step

    def _end(self, run: int, result: Mapping[str, Any]) -> None:
        known = self.runs[run]
        fate = self._fate(known.run)
        promise(result["steps"] == fate.steps, f"run {run} ended at step {result['steps']}")
        promise(not fate.is_deadly, f"run {run} ended though it kills its lane")
        known.result = dict(result)
        self._name(run, None)
        self.leases.end(run)

    def _name(self, run: int, row_file: str | None) -> None:
        known = self.runs[run]
        self._users[known.row_file] -= 1
        self._users[row_file] += 1
        known.row_file = row_file

    def _tell(self, trial: Trial, change: Change) -> None:
        known = self._runs_of[trial.number]
        promise(trial.number not in self.told, f"trial {trial.number} was told twice")
        place = self.told[trial.number] = len(self.told) + 1
        promise(trial.told == place, f"trial {trial.number} was told as number {trial.told}")
        if trial.state == COMPLETE:
            whole = all(one.result is not None for one in known)
            promise(whole, f"trial {trial.number} is complete without its runs")
            promise(trial.result is not None, f"trial {trial.number} has no result")
        else:
            self._give_up(trial, change)
        for one in known:
            self.leases.end(one.run.id)
            self._name(one.run.id, None)
        self.trials[trial.number] = trial

    def _give_up(self, trial: Trial, change: Change) -> None:
        promise(trial.state == FAIL and trial.result is None, "a given up trial with a result")
        words = trial.error or ""
        most = 3 if "Fatal Python error" in words or "Traceback" in words else 5
        guilty = [run for run, deaths in change.deaths.items() if deaths >= most]
        promise(len(guilty) == 1, f"trial {trial.number}: {len(guilty)} runs to blame in {words}")
        run = self.runs[guilty[0]].run
        promise(run.trial == trial.number, f"trial {trial.number} failed for run {run.id}")
        promise(f"run {run.id} " in words, "no word on the run:", words)
        process = re.search(r"last words of (\S+)", words)
        promise(process is not None, "no last words in", words)
        fate, cause = self._fate(run), self._causes.get(process[1] if process else "", "")
        if not fate.is_deadly:
            # Lanes that were shot from outside, the last one with this run alone, are bad luck.
            promise(cause not in ("", "poison"), f"run {run.id} was given up without its fault")
            self.unlucky += 1

    # Exchanges

    def before(self, report: Report, now: float) -> None:
        has_say = self.leases.heard(report, now)
        self._report = report if has_say else None
        self.tainted |= self.leases.silent
        self._owners = {run: self.leases.owner.get(run, "") for run in report.done}

    def after(self, report: Report, answer: Answer) -> None:
        process = report.who.process
        if process in self.leases.gone:
            promise(answer.gone, process, "is gone and isn't told so")
        if self._report is None:
            silence = Answer(gone=answer.gone)
            promise(answer == silence, "a report without a say got", answer)
            return
        self._report = None
        promise(not answer.grant or not answer.end, "runs are given out at the end")
        promise(answer.end or not self.is_closing, "the study is closed, and the sweep goes on")
        self._check_drops(report, answer)
        # What has ended or is dropped makes room for what is granted, also where it was refused.
        before = (self.leases.of(process) | report.held.keys()) - {*report.done, *answer.drop}
        self.leases.answered(report, answer)
        self._check_acknowledged(report, answer)
        self._check_suspects(report, answer, before)
        self._check_grants(report, answer)

    def _check_drops(self, report: Report, answer: Answer) -> None:
        """Nothing is taken from a lane that did all right."""
        process = report.who.process
        for run in answer.drop:
            is_open = self._is_open(run) and self.leases.owner.get(run) == process
            # What was saved just now may be taken back, for the lane to train suspects.
            has, on_disk = report.held[run], self.runs[run].step
            is_safe = has == on_disk and self._has_suspects()
            is_just = is_safe or has < on_disk or not self._is_clean(run, report)
            promise(not is_open or is_just, f"run {run} is taken from {process}")

    def _check_suspects(self, report: Report, answer: Answer, before: set[int]) -> None:
        """Runs whose lane died with them are trained apart, by few, in the end alone."""
        new = {grant.run.id for grant in answer.grant} - before
        deaths = [self.runs[run].deaths for run in new]
        if not any(deaths):
            held = any(self.runs[run].deaths for run in before)
            promise(not held or not new, f"{new} join suspects")
            return
        promise(not before and all(deaths), f"suspects among {new} join {before}")
        most = 1 if max(deaths) > 1 else max(2, report.capacity // 8)
        promise(len(new) <= most, f"{len(new)} suspects at once")

    def _check_grants(self, report: Report, answer: Answer) -> None:
        process, number = report.who.process, report.number
        for grant in answer.grant:
            known = self.runs[grant.run.id]
            promise(self._is_open(grant.run.id), f"run {grant.run.id} was granted after its end")
            is_suspect = known.deaths > 0
            promise(grant.is_suspect == is_suspect, f"run {grant.run.id} is a suspect, or isn't")
            promise(grant.row_file == known.row_file, f"run {grant.run.id}: {grant.row_file}")
            promise(grant.run == known.run, f"run {grant.run.id} has changed")
            known.granted_to, known.granted_at = process, number
        for path in answer.obsolete:
            promise(not self._users[path], path, "is needed, and called obsolete")

    def _check_acknowledged(self, report: Report, answer: Answer) -> None:
        """What was answered without a word against it is on disk."""
        process = report.who.process
        for run, step in report.saved.items():
            if self._is_open(run) and run not in answer.drop and self._is_clean(run, report):
                has = self.runs[run].step >= step
                promise(has, f"run {run}: step {step} was acknowledged, and is lost")
        for run in report.done:
            known = self.runs[run]
            if known.run.trial in self.told or self._owners[run] not in ("", process):
                continue
            if self._is_clean(run, report):
                promise(known.result is not None, f"run {run}: an acknowledged end is lost")

    def _is_open(self, run: int) -> bool:
        known = self.runs[run]
        return known.result is None and known.run.trial not in self.told

    def _has_suspects(self) -> bool:
        return any(known.deaths for known in self.runs.values() if self._is_open(known.run.id))

    def _is_clean(self, run: int, report: Report) -> bool:
        """Whether who reports was granted a run last, and was never given up since.

        A report that is older than the grant, or repeats the one that it answers, speaks of what
        its process had before.
        """
        known, process = self.runs[run], report.who.process
        is_last = known.granted_to == process and known.granted_at < report.number
        return is_last and process not in self.tainted
