"""What `tracking.uri` may be: it is kept in sweep.yaml, so no password may stand in it."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from sweeper import env_reference
from sweeper.errors import SweepError

KEY = "tracking.uri"
_ALLOWED = "sqlite, an MLflow tracking URI, or env:NAME for the environment variable that has it"


def check(uri: str) -> None:
    """Raise SweepError for a URI with a password."""
    if env_reference.is_reference(uri, KEY, _ALLOWED):
        return
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise SweepError("no tracking URI", where=KEY, allowed=_ALLOWED) from None
    login = parts.netloc.rpartition("@")[0]
    if ":" in login or any(key.lower() == "password" for key, _ in parse_qsl(parts.query)):
        is_server = parts.scheme in ("http", "https")
        raise SweepError(
            "a URI with a password",
            where=KEY,
            allowed=_ALLOWED,
            cure="Put the login into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            if is_server
            else "Put the whole URI into an environment variable: env:NAME.",
        )


def resolve(uri: str) -> str:
    """The URI itself; raises SweepError where the environment variable has none."""
    return env_reference.resolved(uri, KEY, "record beside the sweeps: --set tracking.uri=sqlite")[
        0
    ]
