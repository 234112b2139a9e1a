"""What `notify.webhook` may be: a URL, or the name of the environment variable that has it.

Who knows the URL of a webhook may write to its channel: nothing of it but the host is ever shown.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from sweeper import env_reference
from sweeper.errors import SweepError

KEY = "notify.webhook"
_ALLOWED = "https://host/path, or env:NAME for the environment variable that has it"


def check(webhook: str) -> None:
    """Raise SweepError for anything but `env:NAME` or an http(s) URL without a password."""
    if not env_reference.is_reference(webhook, KEY, _ALLOWED):
        _check_url(webhook, KEY)


def resolve(webhook: str) -> str:
    """The URL itself; raises SweepError where the environment variable has none."""
    url, where = env_reference.resolved(
        webhook, KEY, "leave the webhook out: --set notify.webhook=null"
    )
    if where != KEY:
        _check_url(url, where)
    return url


def shown(url: str) -> str:
    """The host of a URL, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _check_url(url: str, where: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise SweepError("no http(s) URL", where=where, allowed=_ALLOWED)
    if "@" in parts.netloc:
        raise SweepError("a URL with a user or a password", where=where, allowed=_ALLOWED)
    if not url.isascii() or not url.isprintable() or " " in url:
        raise SweepError("a URL with characters that none may have", where=where, allowed=_ALLOWED)
