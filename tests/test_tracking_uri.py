"""What `tracking.uri` may be, and that no password of one is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper import spec, tracking_uri
from sweeper.errors import SweepError
from sweeper.tracking.store import resolve_uri

SPEC = {
    "name": "small",
    "task": "perceptron",
    "horizon": 100,
    "baseline": {"optimizer": "adam", "lr": 1e-3},
    "space": {"lr": {"log_uniform": [1e-5, 1e-1]}},
}


@pytest.mark.parametrize(
    ("uri", "cure"),
    [
        ("http://me:hunter2@host:5000", "MLFLOW_TRACKING_USERNAME"),
        ("https://:hunter2@host", "MLFLOW_TRACKING_PASSWORD"),
        ("postgresql://me:hunter2@host/db", "env:NAME"),
        ("postgresql://host/db?user=me&password=hunter2", "env:NAME"),
        ("env:not a name", "no name of an environment variable"),
    ],
)
def test_a_password_is_refused_and_never_shown(uri: str, cure: str) -> None:
    with pytest.raises(SweepError, match=cure) as found:
        spec.check({**SPEC, "tracking": {"uri": uri}})
    assert "hunter2" not in str(found.value)
    assert "tracking.uri" in str(found.value)


@pytest.mark.parametrize(
    "uri",
    ["sqlite", "http://host:5000", "http://me@host", "postgresql://me@host/db", "databricks"],
)
def test_what_holds_no_password_is_taken(uri: str) -> None:
    assert spec.check({**SPEC, "tracking": {"uri": uri}}).tracking.uri == uri


def test_a_uri_from_the_environment_stays_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = spec.check({**SPEC, "tracking": {"uri": "env:SWEEP_URI"}})
    monkeypatch.delenv("SWEEP_URI", raising=False)
    with pytest.raises(SweepError, match="the environment variable SWEEP_URI is not set"):
        resolve_uri(found.tracking.uri, tmp_path)
    monkeypatch.setenv("SWEEP_URI", "postgresql://me:hunter2@host/db")
    assert resolve_uri(found.tracking.uri, tmp_path) == "postgresql://me:hunter2@host/db"
    assert "hunter2" not in repr(found)
    assert tracking_uri.resolve("http://host") == "http://host"
