"""After an error: how long to wait, and what to say."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

FIRST_S, LONGEST_S = 1.0, 30.0
_LONGEST = 300


class Backoff:
    """Waiting times: 1 s after the first failure, twice as long after each further one."""

    def __init__(self) -> None:
        self._delay_s = FIRST_S

    def next(self) -> float:
        """Seconds to wait now."""
        delay_s = self._delay_s
        self._delay_s = min(2 * delay_s, LONGEST_S)
        return delay_s

    def reset(self) -> None:
        """There was progress: the next failure is a first one."""
        self._delay_s = FIRST_S


def said(error: Exception, url: str) -> str:
    """The kind of an error and the first line of what it says, without the password of a URL."""
    lines = str(error).strip().splitlines() or [""]
    return without_password(f"{type(error).__name__}: {lines[0]}", url)[:_LONGEST]


def without_password(text: str, url: str) -> str:
    """A text in which the password of a URL, as it is written or meant, is replaced."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL: it leads nowhere
        return text
    login, at, _ = parts.netloc.rpartition("@")
    password = login.partition(":")[2] if at else ""
    secrets = {password, unquote(password), *parse_qs(parts.query).get("password", ())}
    for secret in secrets - {""}:
        text = text.replace(secret, "***")
    return text


def without_login(url: str) -> str:
    """A URL without user and password."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL: it leads nowhere
        return url.rpartition("@")[2]
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
