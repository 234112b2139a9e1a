"""What `sweeper doctor` says of versions that differ."""

from __future__ import annotations

import pytest

from sweeper.doctor import Finding, compare
from sweeper.study import provenance


def test_versions_that_differ_are_named_and_those_that_decide_are_bad(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = {"torch": "2.13.0", "ray": "2.60.0", "numpy": "2.4.6", "optuna": "5.0.0"}
    monkeypatch.setattr(provenance, "versions", lambda: here)
    there = [
        Finding("cores", True, "64: one lane each"),
        Finding("torch", True, "2.11.0"),
        Finding("ray", True, "2.61.0"),
        Finding("numpy", True, "2.4.1"),
        Finding("optuna", False, "not installed"),
    ]
    found = {one.name: one for one in compare(there)}
    assert found["cores"] == there[0]
    assert found["torch"] == Finding(
        "torch", False, "2.11.0 there, 2.13.0 here: a sweep may give other numbers"
    )
    assert found["ray"] == Finding("ray", True, "2.61.0 there, 2.60.0 here")
    assert found["numpy"] == Finding("numpy", True, "2.4.1 there, 2.4.6 here")
    assert not found["optuna"].good
