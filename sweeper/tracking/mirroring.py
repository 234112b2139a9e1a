"""The Optuna mirror of a sweep, kept in a thread of the tracking process."""

from __future__ import annotations

import logging
import threading
from contextlib import closing

from sweeper.spec import SweepSpec
from sweeper.study.database import STRESS
from sweeper.study.folder import Folder
from sweeper.study.identity import sweep_id
from sweeper.tracking.backoff import Backoff, said

_LOG = logging.getLogger(__name__)
_POLL_S = 0.5
_LEAVE_S = 2.0


class Mirroring:
    """Copies told trials, to the end of the sweep. A context manager.

    It has a thread, since a storage may hang: the records in MLflow go on meanwhile.

    Args:
        folder: of the sweep.
        spec: of the sweep, with a `search.mirror`.
    """

    def __init__(self, folder: Folder, spec: SweepSpec) -> None:
        # Optuna is loaded where a mirror is wanted only, and never while MLflow is.
        from sweeper.study.mirror import Mirror

        assert spec.search.mirror is not None
        self._folder, self._spec, self._url = folder, spec, spec.search.mirror
        self._make = Mirror
        self._backoff = Backoff()
        self._stop = threading.Event()
        # It may be cut off anywhere: a trial is one transaction.
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self.mirrored = 0
        self.error: str | None = None
        self.ended = False

    def __enter__(self) -> Mirroring:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(_LEAVE_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
                return
            # Whatever Optuna or its storage say: neither MLflow's records nor the sweep suffer.
            except Exception as error:
                self.error = said(error, self._url)
                delay = self._backoff.next()
                _LOG.warning("Mirroring failed; again in %.0f s: %s", delay, self.error)
                self._stop.wait(delay)

    def _follow(self) -> None:
        with (
            closing(self._folder.database()) as database,
            closing(self._make(self._url, self._spec, sweep_id(database))) as mirror,
        ):
            place = 0
            while not self._stop.is_set():
                # Asked first: what was told before the end is then among the trials.
                ended = database.meta("ended") is not None
                for trial in database.trials(told_after=place):
                    if self._stop.is_set():
                        return
                    if trial.origin != STRESS:  # no trial of the search
                        mirror.add(trial)
                    place += 1
                    self._note(place)
                self.error, self.ended = None, ended
                if ended:
                    return
                self._stop.wait(_POLL_S)

    def _note(self, place: int) -> None:
        if place > self.mirrored:
            self.mirrored = place
            self.error = None
            self._backoff.reset()
