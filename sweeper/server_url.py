"""What `study_url` may be. Read here without SQLAlchemy, which lives in study."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from sweeper.errors import SweepError, nearest

KEY = "study_url"
SCHEMES = ("postgresql", "postgresql+psycopg")
_ALLOWED = "postgresql://user@host:port/database"
# Wider than what is right: whatever a driver might take for a password is one.
_PASSWORD = re.compile(r"[^:]*://[^:/@]*:[^@]*@")
_URL = re.compile(
    r"[a-z+]+://(?:[^:/?@]*@)?"
    r"(?:[^:/?@\[\]]*|\[[0-9A-Fa-f:.%]+\])(?::[0-9]{1,5})?"
    r"/[^/?@]+(?:\?(?P<query>[^@]*))?"
)


def check(url: str) -> None:
    """Raise SweepError for anything but the URL of a PostgreSQL database without a password.

    Nothing of a URL but its scheme is shown: the rest of a wrong one may hold a password.
    """
    scheme, found, _ = url.partition("://")
    if not found or not re.fullmatch(r"[A-Za-z0-9+]{1,40}", scheme):
        raise _refused("not the URL of a database server")
    if scheme not in SCHEMES:
        raise _refused(f"a URL of scheme {scheme!r}", nearest(scheme, SCHEMES))
    matched = _URL.fullmatch(url)
    options = parse_qsl((matched and matched["query"]) or "", keep_blank_values=True)
    if _PASSWORD.match(url) or any(
        key.lower() in ("password", "sslpassword") for key, _ in options
    ):
        raise _refused("a URL with a password", "Put it into PGPASSWORD or ~/.pgpass.")
    if not matched or not url.isprintable() or " " in url:
        raise _refused("not the URL of a database")


def _refused(what: str, cure: str = "") -> SweepError:
    return SweepError(what, where=KEY, allowed=_ALLOWED, cure=cure)
