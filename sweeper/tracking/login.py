"""Whether a tracking server lets the environment's login in."""

from __future__ import annotations

from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import urlopen

from sweeper import tracking_uri
from sweeper.errors import SweepError
from sweeper.tracking import opening
from sweeper.tracking.backoff import without_login

_QUESTION = "/api/2.0/mlflow/experiments/search?max_results=1"
_ANSWER_S = 10.0
_REFUSED = (401, 403)


def check_login(uri: str) -> None:
    """Ask a server that is there one question, with a login only where it wants one.

    Raises:
        SweepError: it refuses the login, or there is none.
    """
    if not uri.startswith(("http://", "https://")):
        return
    address = without_login(uri).rstrip("/")
    try:
        with urlopen(address + _QUESTION, timeout=_ANSWER_S):  # noqa: S310
            return
    except HTTPError as error:
        if error.code not in _REFUSED:
            return
    except (OSError, HTTPException, ValueError):
        return  # that it is there was seen before
    if opening.is_refused(uri):
        raise SweepError(
            f"the tracking server at {address} refuses the login that it gets",
            where=tracking_uri.KEY,
            cure="Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or "
            "MLFLOW_TRACKING_TOKEN) where the sweep is launched.",
        )
