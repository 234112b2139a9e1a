"""What `files` may be: the URL of a folder, for fsspec. Read here without fsspec."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from sweeper.errors import SweepError

KEY = "files"
_ALLOWED = "s3://bucket/folder, gs://bucket/folder, file:///folder or another URL of fsspec"
_SECRETS = "Credentials come from the environment, such as AWS_ACCESS_KEY_ID, or from a role."
# Each process has a memory and an idea of the present folder of its own; archives can't be shared.
_NOT_SHARED = ("memory", "data", "zip", "tar", "libarchive", "local", "http", "https", "ftp")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,39}")


def check(url: str) -> None:
    """Raise SweepError for anything but the URL of a folder, without a login in it.

    Nothing of a URL but its scheme is shown: the rest of a wrong one may hold a password.
    """
    scheme, found, rest = url.partition("://")
    if not found or not _SCHEME.fullmatch(scheme):
        raise _refused("not the URL of a folder")
    if scheme in _NOT_SHARED:
        raise _refused(f"{scheme}:// is nothing that all nodes can write to")
    if "::" in url or not url.isprintable() or " " in url or "\\" in url:
        raise _refused("not the URL of one folder")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refused("not the URL of a folder") from None
    if parts.password is not None or (parts.username and scheme in ("s3", "s3a", "gs", "gcs")):
        raise _refused("a URL with a login", _SECRETS)
    if "?" in rest or "#" in rest:
        raise _refused("a URL with options", _SECRETS)
    folder = parts.path.removeprefix("/").removesuffix("/")
    if folder and {"", ".", ".."} & set(folder.split("/")):
        raise _refused("a path with '.', '..' or nothing between two slashes")
    if scheme == "file" and (parts.netloc or not folder):
        raise _refused("not the absolute path of a folder of this machine")
    if scheme != "file" and not parts.netloc:
        raise _refused("a URL without a bucket")


def joined(url: str, name: str) -> str:
    """The folder of a sweep below that of all sweeps."""
    return f"{url.rstrip('/')}/{name}"


def _refused(what: str, cure: str = "") -> SweepError:
    return SweepError(what, where=KEY, allowed=_ALLOWED, cure=cure)
