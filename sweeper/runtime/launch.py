"""Launching and resuming a sweep: check everything first, then run, record and recommend."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from sweeper import spec as spec_module
from sweeper.errors import SweepError
from sweeper.lane import loop_folder
from sweeper.results.sweep import SweepHandle
from sweeper.runtime import notify, plan
from sweeper.runtime.conclusion import conclude
from sweeper.runtime.notice import notice
from sweeper.runtime.progress import Progress
from sweeper.runtime.range_test import with_range_test
from sweeper.runtime.recorder import Recorder
from sweeper.runtime.signals import signals_interrupt
from sweeper.runtime.variants import resolve
from sweeper.spec import SweepSpec
from sweeper.study import cleaning, mirror
from sweeper.study.database import Fenced, Unavailable, check_server
from sweeper.study.folder import Folder, find, locked, unwritable
from sweeper.tasks.variants import forget
from sweeper.tracking import process as tracker
from sweeper.tracking import store
from sweeper.tracking.login import check_login

# A launch that was killed has a study that lives on for some seconds.
_OTHERS_END_S = 30.0


def launch(
    spec: SweepSpec | Mapping[str, Any] | str | Path,
    *,
    local: bool = False,
    address: str | None = None,
    console: Console | None = None,
) -> SweepHandle:
    """Run a sweep to its end and return a handle on its results.

    A sweep of that name and meaning that is finished is shown, an unfinished one is resumed.

    Args:
        spec: a SweepSpec, a mapping of its keys, or the path of a spec file.
        local: train in this process, without Ray.
        address: "auto" joins the Ray cluster that this machine belongs to.
        console: where progress is shown; default standard error.

    Raises:
        SweepError: anything wrong, before something is started; or the lanes ended with an error.
        KeyboardInterrupt: Ctrl-C; the sweep can be resumed.
    """
    forget()
    resolved = _resolve(spec)
    console = console or Console(file=sys.stderr)
    folder = check(resolved)
    folder.make_again(resolved)
    if folder.exists:
        resolved = _as_begun(folder, resolved)
        if _is_finished(folder, resolved):
            return _finished(folder, resolved, console)
    folder.path.mkdir(parents=True, exist_ok=True)
    with locked(folder.path, "launch.lock"):
        if folder.exists:
            resolved = _as_begun(folder, resolved)  # another launch may have been quicker
        else:
            resolved = with_range_test(resolved, folder.path / "report", console)
            folder.create(resolved)
        return _run(folder, resolved, local=local, address=address, console=console)


def resume(
    name: str,
    *,
    storage: str = "./sweeps",
    local: bool = False,
    address: str | None = None,
    add_trials: int = 0,
    console: Console | None = None,
) -> SweepHandle:
    """Go on with a sweep from its last row files; a finished one is shown.

    Args:
        address: as of `launch`.
        add_trials: trials more than its budget has; then a finished one goes on, too.
    """
    forget()
    folder = find(name, storage)
    spec = _with_more_trials(folder.read_spec(), add_trials)
    is_finished = _is_finished(folder, spec)
    check(spec, trains=not is_finished)
    console = console or Console(file=sys.stderr)
    if is_finished:
        return _finished(folder, spec, console)
    with locked(folder.path, "launch.lock"):
        return _run(folder, spec, local=local, address=address, console=console)


def _with_more_trials(spec: SweepSpec, count: int) -> SweepSpec:
    if not count:
        return spec
    budget = spec.budget.model_copy(update={"trials": spec.budget.trials + count})
    return spec_module.check({**spec.model_dump(mode="json"), "budget": budget.model_dump()})


def check(spec: SweepSpec, *, trains: bool = True) -> Folder:
    """Everything that can be known to go wrong before something is started.

    Args:
        trains: whether anything is to be trained: then the task is tried.

    Raises:
        SweepError: unwritable storage, a task that can't be built or doesn't return the metrics of
            the objective, an unreachable tracking server, nobody to notify.
    """
    folder = Folder(spec.folder)
    problem = unwritable(folder.path.parent)
    if problem:
        raise problem
    if spec.files is not None:
        folder.storage_of(spec).prove_writable()
    if trains:
        plan.check_task(spec)
        if plan.is_own_loop(spec):
            folder.storage_of(spec).local(loop_folder.FOLDER)  # refused where that is none
    if spec.study_url is not None:
        check_server(spec.study_url)
    if spec.search.mirror is not None:
        mirror.check(spec.search.mirror)
    if trains:
        notify.check(spec.notify)
    if not spec.tracking.later:
        uri = store.resolve_uri(spec.tracking.uri, folder.path.parent)
        store.check_reachable(uri)
        check_login(uri)
    return folder


def _resolve(spec: SweepSpec | Mapping[str, Any] | str | Path) -> SweepSpec:
    """The spec, read, checked, and with what only the task knows."""
    if isinstance(spec, SweepSpec):
        return resolve(spec)
    if isinstance(spec, Mapping):
        return resolve(spec_module.check(dict(spec)))
    return resolve(spec_module.load(Path(spec)))


def _as_begun(folder: Folder, spec: SweepSpec) -> SweepSpec:
    """The spec with what decides the results as it was begun: the order of keys does, too.

    Raises:
        SweepError: these are two sweeps; they are not mixed in one folder.
    """
    begun = folder.read_spec()
    old, new = begun.meaning(), spec.meaning()
    changed = sorted(key for key in new if old.get(key) != new[key])
    if changed:
        raise SweepError(
            f"a sweep named {spec.name!r} exists with another {', '.join(changed)}",
            where=str(folder.path),
            cure="Give this one another name (--set name=...), or remove the old folder.",
        )
    return spec.model_copy(update={key: getattr(begun, key) for key in old if key != "search"})


def _is_finished(folder: Folder, spec: SweepSpec) -> bool:
    return SweepHandle(folder).finished and folder.read_spec().budget == spec.budget


def _finished(folder: Folder, spec: SweepSpec, console: Console) -> SweepHandle:
    """The results of a finished sweep; what MLflow or a mirror could not take, they get now."""
    is_new_mirror = spec.search.mirror != folder.read_spec().search.mirror
    if is_new_mirror or not tracker.read_progress(folder.path)["ended"]:
        with locked(folder.path, "launch.lock"):
            folder.write_spec(spec)
            Recorder(folder, console).await_end(patient=True)
    return SweepHandle(folder)


def _run(
    folder: Folder, spec: SweepSpec, *, local: bool, address: str | None, console: Console
) -> SweepHandle:
    """Run under the lock of the launch."""
    with signals_interrupt():
        folder.write_spec(spec)
        launch = _begin_launch(folder)
        recorder = Recorder(folder, console)
        started, ended, raised = time.monotonic(), "failed", None
        try:
            with Progress(console, spec.name) as progress:

                def show(status: dict[str, Any]) -> None:
                    recorder.keep_alive()
                    progress.show({**status, "tracker": recorder.progress()})

                _train(folder, spec, launch, show, local=local, address=address)
                ended = "finished"
                conclude(folder, console)
        except KeyboardInterrupt:
            ended = "interrupted"
            hint = f"Interrupted. Go on with: sweeper resume {spec.name}{_place(folder, spec)}"
            console.print(hint, soft_wrap=True, highlight=False)
            raise
        except Exception as error:
            raised = error
            raise
        finally:
            _end_launch(folder, launch, ended)
            _notify(folder, spec, ended, raised, time.monotonic() - started, console)
            recorder.await_end(patient=ended == "finished")
    return SweepHandle(folder)


def _place(folder: Folder, spec: SweepSpec) -> str:
    return f" --storage {folder.path.parent}" if spec.storage != "./sweeps" else ""


def _begin_launch(folder: Folder) -> int:
    # A launch on another machine, with a folder of its own, is not to be cut off.
    with closing(folder.database()) as database, database.lock(wait_s=_OTHERS_END_S):
        launch = database.begin_launch()
        database.join_launch(launch)
        database.put_meta(ended=None, launched_at=time.time())
        cleaning.remove_orphans(folder.storage, database)
    return launch


def _end_launch(folder: Folder, launch: int, ended: str) -> None:
    """Say how it ended, unless a later launch has taken over or the database is out of reach."""
    with suppress(Fenced, Unavailable), closing(folder.database()) as database:
        database.join_launch(launch)
        database.put_meta(ended=ended)
        if ended == "finished":  # else a lane may still be on its way out
            cleaning.remove_orphans(folder.storage, database)


def _notify(
    folder: Folder,
    spec: SweepSpec,
    ended: str,
    error: Exception | None,
    duration_s: float,
    console: Console,
) -> None:
    """Tell whom the spec names how it ended; the tracking process records meanwhile."""
    if not spec.notify.is_on:
        return
    try:
        notify.send(spec.notify, notice(folder, ended, error, duration_s), console)
    except Exception as mistake:  # whatever is wrong with it, it mustn't hide how the sweep ended
        said = f"The notification was not sent ({mistake})."
        console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _train(
    folder: Folder,
    spec: SweepSpec,
    launch: int,
    show: Callable[[dict[str, Any]], None],
    *,
    local: bool,
    address: str | None,
) -> None:
    if local:
        from sweeper.runtime.local import run_local

        run_local(folder, spec, launch, show)
    else:
        forget()  # lanes are other processes: this one needs no data
        # Importing Ray takes seconds and sets environment variables: only where it is used.
        from sweeper.runtime.cluster import run_on_ray

        run_on_ray(folder, spec, launch, show, address=address)
