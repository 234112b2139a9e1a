"""The folder of a sweep: its spec, its database, and the locks that keep a second one out."""

from __future__ import annotations

import fcntl
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sweeper import spec_file
from sweeper.errors import SweepError, nearest
from sweeper.lane.storage import Storage
from sweeper.spec import SweepSpec, check
from sweeper.study.database import Database

SCHEMA = 1
_PACKAGES = ("torch", "ray", "optuna", "mlflow", "numpy", "pyarrow")


class Folder:
    """`<storage>/<sweep>`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def exists(self) -> bool:
        return (self.path / "sweep.yaml").exists()

    @property
    def storage(self) -> Storage:
        return Storage(str(self.path))

    def database(self) -> Database:
        """The study's database; raises SweepError where there is none."""
        return Database(self.path / "study.db")

    def create(self, spec: SweepSpec) -> None:
        """Lay the folder out: spec, versions, empty database.

        The spec is written last: a folder without it is no sweep and is laid out again.
        """
        for folder in ("trajectories", "rows", "report"):
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        Database(self.path / "study.db", create=True).close()
        self.write_spec(spec)

    def write_spec(self, spec: SweepSpec) -> None:
        """Write sweep.yaml: the resolved spec, with versions and git commit."""
        content = {
            "schema": SCHEMA,
            "spec": spec.model_dump(mode="json"),
            "versions": versions(),
            "commit": _commit(),
        }
        self.storage.write("sweep.yaml", _yaml(content))

    def read_spec(self) -> SweepSpec:
        """The spec of the sweep; raises SweepError where there is none."""
        if not self.exists:
            raise _no_sweep(self.path)
        content, _ = spec_file.read(self.path / "sweep.yaml")
        if content.get("schema") != SCHEMA:
            raise SweepError(f"{self.path / 'sweep.yaml'} has another schema", allowed=str(SCHEMA))
        # The folder may have been moved: its own place is what counts.
        return check({**content["spec"], "storage": str(self.path.parent)}, "sweep.yaml")


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


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the results."""
    found = {"python": platform.python_version(), "sweeper": _version("sweeper")}
    return found | {package: _version(package) for package in _PACKAGES}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _no_sweep(path: Path) -> SweepError:
    root = path.parent
    names = sorted(p.parent.name for p in root.glob("*/sweep.yaml")) if root.is_dir() else []
    return SweepError(
        f"there is no sweep {path.name!r} in {root}",
        allowed=", ".join(names[:10]),
        cure=nearest(path.name, names) or "Name another folder with --storage.",
    )


def _commit() -> str | None:
    """The git commit of the working directory, where it is a checkout."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def _yaml(content: Mapping[str, Any]) -> bytes:
    stream = BytesIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(dict(content), stream)
    return stream.getvalue()


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
