"""The folder of a sweep: its spec, its database, and the locks that keep a second one out."""

from __future__ import annotations

import fcntl
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeper import files_url, spec_file
from sweeper.errors import SweepError, nearest
from sweeper.files_url import joined
from sweeper.lane.object_storage import storage_at
from sweeper.lane.storage import Storage
from sweeper.spec import SweepSpec, check
from sweeper.study import copies
from sweeper.study.database import Database
from sweeper.study.engine import schema_of
from sweeper.study.provenance import commit, versions

SCHEMA, FILE = 1, "sweep.yaml"
_PUT_BACK = "Put a copy of it back. The trials are safe: they are in the study's database."


class Folder:
    """`<storage>/<sweep>`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def exists(self) -> bool:
        return self._file.exists()

    @property
    def own(self) -> Storage:
        """The folder itself: what the machine of the driver keeps."""
        return Storage(str(self.path))

    @property
    def storage(self) -> Storage:
        """Where row files and trajectories are: here, unless the spec's `files` say otherwise."""
        return self.storage_of(_read(self._file)["spec"]) if self.exists else self.own

    def storage_of(self, spec: SweepSpec | Mapping[str, Any]) -> Storage:
        """Where the lanes of a spec write, as every node can tell without this folder."""
        if isinstance(spec, SweepSpec):
            url = spec.files_folder
        else:
            files = spec.get("files")
            url = None if files is None else joined(str(files), str(spec["name"]))
        return self.own if url is None else storage_at(url)

    def database(self) -> Database:
        """The study's database, where sweep.yaml says it is.

        Raises:
            SweepError: there is none.
            Unavailable: the disk or the server.
        """
        found = self._server()
        if found is None:
            return Database(self.path / "study.db")
        url, name = found
        return Database(url, schema=schema_of(name))

    def create(self, spec: SweepSpec) -> None:
        """Lay the folder out: spec, versions, empty database.

        The spec is written last: a folder without it is no sweep and is laid out again.

        Raises:
            SweepError: the database has trials, or belongs to another folder; another sweep's
                files are where `files` says.
            Unavailable: the disk or the server.
        """
        if spec.files is not None and copies.read(self.storage_of(spec), FILE) is not None:
            raise copies.taken(self.storage_of(spec), spec.name)
        self._make_folders(spec)
        if spec.study_url is None:
            database, owner = Database(self.path / "study.db", create=True), "."
        else:
            schema = schema_of(spec.name)
            database = Database(spec.study_url, schema=schema, create=True)
            owner = spec.files_folder or str(self.path)
        try:
            if not database.claim(owner):
                raise _taken(self.path, spec)
        finally:
            database.close()
        self.write_spec(spec)

    def make_again(self, spec: SweepSpec) -> None:
        """Lay out a folder that is lost, from the copy of its sweep.yaml, if there is one.

        Only where the study is on a server, too: it knows the trials.

        Raises:
            SweepError: the copy is damaged, or of a sweep whose study is elsewhere.
        """
        if spec.files is None or self.exists:
            return
        storage = self.storage_of(spec)
        text = copies.read(storage, FILE)
        if text is None:
            return
        begun = _parsed(text, f"{storage.folder}/{FILE}")["spec"]
        if spec.study_url is None or begun.get("study_url") != spec.study_url:
            raise copies.taken(storage, spec.name)
        self._make_folders(spec)
        self.own.write(FILE, text)

    def write_spec(self, spec: SweepSpec) -> None:
        """Write sweep.yaml: the resolved spec, with versions and git commit.

        Raises:
            SweepError: the study, or the files, are elsewhere than this spec says.
        """
        if self.exists:
            self._check_same_places(spec)
        content = {
            "schema": SCHEMA,
            "spec": spec.model_dump(mode="json"),
            "versions": versions(),
            "commit": commit(),
        }
        text = spec_file.dump(content).encode()
        self.own.write(FILE, text)
        if spec.files is not None:
            copies.write(self.storage_of(spec), FILE, text)

    def read_spec(self) -> SweepSpec:
        """The spec of the sweep; raises SweepError where there is none."""
        if not self.exists:
            raise _no_sweep(self.path)
        content = _read(self._file)
        # The folder may have been moved: its own place is what counts.
        return check({**content["spec"], "storage": str(self.path.parent)}, "sweep.yaml")

    def provenance(self) -> dict[str, Any]:
        """`versions` and git `commit` of the last launch; SweepError where there is none."""
        if not self.exists:
            raise _no_sweep(self.path)
        content = _read(self._file)
        return {key: content[key] for key in ("versions", "commit")}

    @property
    def _file(self) -> Path:
        return self.path / FILE

    def _make_folders(self, spec: SweepSpec) -> None:
        for folder in ("report",) if spec.files else ("trajectories", "rows", "report"):
            (self.path / folder).mkdir(parents=True, exist_ok=True)

    def _server(self) -> tuple[str, str] | None:
        """URL of the study's server and name of the sweep there; None for SQLite."""
        return _place(_read(self._file)) if self.exists else None

    def _check_same_places(self, spec: SweepSpec) -> None:
        here, there = self.storage, self.storage_of(spec)
        if here.folder != there.folder:
            raise SweepError(
                f"the row files and trajectories of this sweep are in {here.folder}",
                where=files_url.KEY,
                cure=f"Leave files as it is. If you moved them, name the new place in "
                f"{self._file}.",
            )
        found = self._server()
        url = found[0] if found else None
        if url != spec.study_url:
            raise SweepError(
                f"the study of this sweep is in {url or self.path / 'study.db'}",
                where="study_url",
                cure=f"Leave study_url as it is. If you moved the database, name the new one in "
                f"{self._file}.",
            )


def _read(path: Path) -> dict[str, Any]:
    """The content of sweep.yaml; raises SweepError where that is damaged or of another version."""
    try:
        content, _ = spec_file.read(path)
    except SweepError as error:
        raise _unreadable(error, str(path)) from error
    return _whole(content, str(path))


def _parsed(text: bytes, where: str) -> dict[str, Any]:
    """The content of a copy of sweep.yaml; raises as `_read`."""
    try:
        content, _ = spec_file.parse_text(text.decode(errors="replace"), where)
    except SweepError as error:
        raise _unreadable(error, where) from error
    return _whole(content, where)


def _unreadable(error: SweepError, where: str) -> SweepError:
    return SweepError(f"can't read it: {error.what}", where=where, cure=_PUT_BACK)


def _whole(content: dict[str, Any], where: str) -> dict[str, Any]:
    if content.get("schema", SCHEMA) != SCHEMA:
        raise SweepError(
            f"schema {content['schema']!r}",
            where=where,
            allowed=str(SCHEMA),
            cure="Use the version of sweeper that made it.",
        )
    # A spec that was cut off may still be one, with other values: the end must be there.
    whole = {"schema", "spec", "versions", "commit"} <= content.keys()
    if not whole or not isinstance(content["spec"], dict):
        raise SweepError("it is cut off", where=where, cure=_PUT_BACK)
    return content


def _place(content: Mapping[str, Any]) -> tuple[str, str] | None:
    url, name = content["spec"].get("study_url"), content["spec"].get("name")
    return None if url is None else (str(url), str(name))


def _taken(path: Path, spec: SweepSpec) -> SweepError:
    """The new sweep finds its database in use."""
    if spec.study_url is None:
        return SweepError(
            f"{path / 'study.db'} holds trials, but sweep.yaml is missing",
            cure="Put sweep.yaml back, or remove the folder.",
        )
    return SweepError(
        f"another sweep named {spec.name!r} lives in that database",
        where="study_url",
        cure=f"Choose another name (--set name=...), or drop its schema {schema_of(spec.name)}.",
    )


@contextmanager
def locked(path: Path, name: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a lock file of a sweep; the kernel frees it when the process dies.

    Raises:
        SweepError: somebody else still has it after `wait_s` seconds.
    """
    deadline = time.monotonic() + wait_s
    with (path / name).open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise SweepError(
                        f"sweep {path.name!r} is running already",
                        where=str(path),
                        cure="Wait for it, or end it with Ctrl-C where it runs.",
                    ) from None
                time.sleep(0.1)
        yield


def find(name: str, storage: str) -> Folder:
    """The folder of a sweep by name; raises SweepError with the nearest right name."""
    root = Path(storage).expanduser().resolve()
    if Path(name).name != name or name in ("", ".", ".."):
        raise SweepError(f"{name!r} is not the name of a sweep", allowed="a name without slashes")
    folder = Folder(root / name)
    if not folder.exists:
        raise _no_sweep(folder.path)
    return folder


def _no_sweep(path: Path) -> SweepError:
    root = path.parent
    names = sorted(p.parent.name for p in root.glob("*/sweep.yaml")) if root.is_dir() else []
    return SweepError(
        f"there is no sweep {path.name!r} in {root}",
        allowed=", ".join(names[:10]),
        cure=nearest(path.name, names) or "Name another folder with --storage.",
    )


def unwritable(root: Path) -> SweepError | None:
    """Why sweeps can't be kept in a folder; None when they can. Leaves nothing behind."""
    existing = next(p for p in (root, *root.parents) if p.exists())
    try:
        # Asking for permissions isn't enough: root may, and some file systems refuse all the same.
        with tempfile.TemporaryDirectory(dir=existing):
            return None
    except OSError as error:
        return SweepError(
            f"can't write to {root}: {existing}: {error.strerror or error}",
            where="storage",
            cure="Choose another folder with --storage.",
        )
