"""Which URLs name the server of a study, and that no message shows a password."""

from __future__ import annotations

import pytest

from sweeper.errors import SweepError
from sweeper.spec import check

GOOD = {
    "name": "a",
    "task": "perceptron",
    "horizon": 100,
    "space": {"lr": {"log_uniform": [1e-5, 1e-1]}},
}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/d",
        "postgresql+psycopg://u@db.example.org:5432/d?sslmode=require",
        "postgresql://u%40x@[::1]:5432/d",
        "postgresql:///d?host=/var/run/postgresql&passfile=/x",
        None,
    ],
)
def test_good(url: str | None) -> None:
    spec = check({**GOOD, "study_url": url})
    assert spec.study_url == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:secret@h/d", "a URL with a password"),
        ("postgresql://u:sec/ret@h/d", "a URL with a password"),
        ("postgresql://u:@h/d", "a URL with a password"),
        ("postgresql+psycopg://u:secret@", "a URL with a password"),
        ("postgresql://h:1/d?x=secret@y", "a URL with a password"),
        ("postgresql://u@h/d?password=secret", "a URL with a password"),
        ("postgresql://u@h/d?a=b&Password=secret", "a URL with a password"),
        ("postgresql://u@h/d?sslpassword=secret", "a URL with a password"),
        ("mysql://u:secret@h/d", "a URL of scheme 'mysql'"),
        ("sqlite:///secret.db", "a URL of scheme 'sqlite'"),
        ("postgres://u:secret@h/d", "Did you mean 'postgresql'?"),
        ("postgresql+psycopg2://h/d", "Did you mean 'postgresql+psycopg'?"),
        ("u:secret@h/d", "not the URL of a database server"),
        ("secret secret://h/d", "not the URL of a database server"),
        ("postgresql:secret", "not the URL of a database server"),
        ("postgresql://secret", "not the URL of a database"),
        ("postgresql://h/", "not the URL of a database"),
        ("postgresql://h:secret/d", "not the URL of a database"),
        ("postgresql://h/d\n", "not the URL of a database"),
        ("postgresql://h/a d", "not the URL of a database"),
        ("", "not the URL of a database server"),
    ],
)
def test_refused(url: str, says: str) -> None:
    with pytest.raises(SweepError) as caught:
        check({**GOOD, "study_url": url})
    text = str(caught.value)
    assert says in text
    assert text.startswith("spec: study_url: ")
    assert "allowed: postgresql://user@host:port/database" in text
    assert "secret" not in text
    assert ("PGPASSWORD or ~/.pgpass" in text) == ("with a password" in text)
