"""With what a sweep was made: versions and git commit."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata

from sweeper.version import VERSION

_PACKAGES = ("torch", "ray", "optuna", "mlflow", "numpy", "pyarrow")


def commit() -> str | None:
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


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the results."""
    found = {"python": platform.python_version(), "sweeper": VERSION}
    return found | {package: _version(package) for package in _PACKAGES}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
