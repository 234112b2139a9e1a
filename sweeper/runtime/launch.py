"""Launching and resuming a sweep: check everything first, then run, record and recommend."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from sweeper import spec as spec_module
from sweeper.errors import SweepError
from sweeper.results.sweep import SweepHandle
from sweeper.runtime.progress import Progress
from sweeper.runtime.signals import sigterm_interrupts
from sweeper.spec import SweepSpec
from sweeper.study.folder import Folder, find, locked, unwritable
from sweeper.tasks import registry
from sweeper.tracking import process as tracker
from sweeper.tracking import store

_TRACKER_STALLED_S = 60.0


def launch(
    spec: SweepSpec | Mapping[str, Any] | str | Path,
    *,
    local: bool = False,
    console: Console | None = None,
) -> SweepHandle:
    """Run a sweep to its end and return a handle on its results.

    A sweep of that name and meaning that is finished is shown, an unfinished one is resumed.

    Args:
        spec: a SweepSpec, a mapping of its keys, or the path of a spec file.
        local: train in this process, without Ray.
        console: where progress is shown; default standard error.

    Raises:
        SweepError: anything wrong, before something is started; or the lanes ended with an error.
        KeyboardInterrupt: Ctrl-C; the sweep can be resumed.
    """
    resolved = _resolve(spec)
    console = console or Console(stderr=True)
    folder = check(resolved)
    if folder.exists:
        _check_same(folder, resolved)
        if _is_finished(folder, resolved):
            return _finished(folder, console)
    else:
        folder.create(resolved)
    return _run(folder, resolved, local=local, console=console)


def resume(
    name: str, *, storage: str = "./sweeps", local: bool = False, console: Console | None = None
) -> SweepHandle:
    """Go on with an interrupted sweep from its last row files; a finished one is shown."""
    folder = find(name, storage)
    spec = folder.read_spec()
    check(spec)
    console = console or Console(stderr=True)
    if _is_finished(folder, spec):
        return _finished(folder, console)
    return _run(folder, spec, local=local, console=console)


def check(spec: SweepSpec) -> Folder:
    """Everything that can be known to go wrong before something is started.

    Raises:
        SweepError: unwritable storage, a task that can't be built, an unreachable tracking server.
    """
    folder = Folder(spec.folder)
    problem = unwritable(folder.path.parent)
    if problem:
        raise problem
    registry.TaskName(spec.task, spec.task_args).build()
    if not spec.tracking.later:
        store.check_reachable(spec.tracking.uri)
    return folder


def _resolve(spec: SweepSpec | Mapping[str, Any] | str | Path) -> SweepSpec:
    if isinstance(spec, SweepSpec):
        return spec
    if isinstance(spec, Mapping):
        return spec_module.check(dict(spec))
    return spec_module.load(Path(spec))


def _check_same(folder: Folder, spec: SweepSpec) -> None:
    """Refuse to mix two sweeps in one folder."""
    old, new = folder.read_spec().meaning(), spec.meaning()
    changed = sorted(key for key in new if old.get(key) != new[key])
    if changed:
        raise SweepError(
            f"a sweep named {spec.name!r} exists with another {', '.join(changed)}",
            where=str(folder.path),
            cure="Give this one another name (--set name=...), or remove the old folder.",
        )


def _is_finished(folder: Folder, spec: SweepSpec) -> bool:
    return SweepHandle(folder).finished and folder.read_spec().budget == spec.budget


def _finished(folder: Folder, console: Console) -> SweepHandle:
    """The results of a finished sweep; what MLflow could not take then, it gets now."""
    if not tracker.read_progress(folder.path)["ended"]:
        with locked(folder.path, "launch.lock"):
            recorder = tracker.start(folder.path, folder.path / "tracker.log")
            _await_tracker(folder, recorder, console, patient=True)
    return SweepHandle(folder)


def _run(folder: Folder, spec: SweepSpec, *, local: bool, console: Console) -> SweepHandle:
    with locked(folder.path, "launch.lock"), sigterm_interrupts():
        folder.write_spec(spec)
        _put_ended(folder, None)
        recorder = tracker.start(folder.path, folder.path / "tracker.log")
        ended = "failed"
        try:
            with Progress(console, spec.name) as progress:
                _train(folder, spec, progress.show, local=local)
                ended = "finished"
                _recommend(folder)
        except KeyboardInterrupt:
            ended = "interrupted"
            place = f" --storage {folder.path.parent}" if spec.storage != "./sweeps" else ""
            hint = f"Interrupted. Go on with: sweeper resume {spec.name}{place}"
            console.print(hint, soft_wrap=True, highlight=False)
            raise
        finally:
            _put_ended(folder, ended)
            _await_tracker(folder, recorder, console, patient=ended == "finished")
    return SweepHandle(folder)


def _train(
    folder: Folder, spec: SweepSpec, show: Callable[[dict[str, Any]], None], *, local: bool
) -> None:
    if local:
        from sweeper.runtime.local import run_local

        run_local(folder, spec, show)
    else:
        # Importing Ray takes seconds and sets environment variables: only where it is used.
        from sweeper.runtime.cluster import run_on_ray

        run_on_ray(folder, spec, show)


def _recommend(folder: Folder) -> None:
    try:
        found = SweepHandle(folder).recommendation()
    except SweepError:
        return  # every trial failed: the table says so
    folder.storage.write("recommended.json", json.dumps(found, indent=2).encode())


def _put_ended(folder: Folder, ended: str | None) -> None:
    database = folder.database()
    database.put_meta(ended=ended)
    database.close()


def _await_tracker(
    folder: Folder, recorder: subprocess.Popen[bytes], console: Console, *, patient: bool
) -> None:
    """Wait until everything is recorded, as long as there is progress."""
    moved, before = time.monotonic(), -1
    limit = _TRACKER_STALLED_S if patient else 10.0
    while recorder.poll() is None:
        state = tracker.read_progress(folder.path)
        recorded = state["recorded"]
        if recorded != before:
            moved, before = time.monotonic(), recorded
        # An unreachable server says so at once: no need to wait for it for long.
        if time.monotonic() - moved > (min(limit, 5.0) if state["error"] else limit):
            recorder.terminate()
            recorder.wait()
            console.print(
                f"MLflow has {recorded} of {state['told']} trials; "
                f"`sweeper resume {folder.name}` records the rest. {state['error'] or ''}"
            )
            return
        time.sleep(0.05)
    if recorder.returncode:
        log = folder.path / "tracker.log"
        console.print(f"The MLflow tracker ended with code {recorder.returncode}: see {log}")
