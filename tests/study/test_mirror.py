"""The Optuna mirror: each told trial once, whatever happens, and only where it belongs."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import optuna
import psycopg
import pytest
from optuna.trial import TrialState
from postgres_server import Server

from sweeper.errors import SweepError
from sweeper.optim.configuration import parse
from sweeper.space_parser import parse_space
from sweeper.spec import SweepSpec, check
from sweeper.study import mirror as mirror_module
from sweeper.study.database import COMPLETE, FAIL, PRUNED, Database, Trial
from sweeper.study.identity import sweep_id
from sweeper.study.mirror import Mirror, MirrorError, shared_draws

ID, OTHER = "a" * 32, "b" * 32
RAW: dict[str, Any] = {
    "name": "copied",
    "task": "perceptron",
    "horizon": 100,
    "baseline": {"lr": 1e-3},
    "space": {
        "lr": {"log_uniform": [1e-5, 1e-1]},
        "beta2": {"one_minus_log_uniform": [1e-4, 0.2]},
        "amsgrad": {"choice": [False, True]},
        "schedule": {"choice": {"constant": {}, "cosine": {"final": {"uniform": [0.0, 1.0]}}}},
    },
}


def spec_with(**changes: Any) -> SweepSpec:
    return check({**RAW, **changes})


def draws_of(number: int) -> dict[str, Any]:
    return {"lr": 1e-3 * (number + 1), "beta2": 0.01, "amsgrad": True, "schedule": "constant"}


def complete(number: int, *, told: int = 1, origin: str = "search", **result: Any) -> Trial:
    found = {
        "robust_loss": -3.0 + number,
        "violation": 0.5,
        "failure_fraction": 0.5,
        "draw_up": 4.0,
        "onset_step": None,
    }
    draws = draws_of(number) if origin == "search" else {}
    config = parse({"lr": 1e-3}).to_dict()
    return Trial(number, origin, config, draws, COMPLETE, found | result, told)


def given_up(number: int, error: str) -> Trial:
    config = parse({"lr": 1e-3}).to_dict()
    return Trial(number, "search", config, draws_of(number), FAIL, None, 1, error)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'optuna.db'}"


@contextmanager
def opened(url: str, sweep: str = ID, **changes: Any) -> Iterator[Mirror]:
    mirror = Mirror(url, spec_with(**changes), sweep)
    try:
        yield mirror
    finally:
        mirror.close()


def copied(url: str, name: str = "copied") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=url)


def numbers(study: optuna.Study) -> list[int]:
    return [trial.user_attrs["sweeper.trial"] for trial in study.trials]


def test_a_trial_as_the_dashboard_sees_it(url: str) -> None:
    with opened(url) as mirror:
        mirror.add(complete(1, accuracy=0.9, tail_loss=float("inf")))
    study = copied(url)
    assert study.user_attrs == {"sweeper.sweep_id": ID}
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    (trial,) = study.trials
    assert (trial.state, trial.value, trial.params) == (TrialState.COMPLETE, -2.0, draws_of(1))
    assert trial.constraints == {"stability": 0.5}
    attributes = trial.user_attrs
    assert attributes["sweeper.config"]["betas"] == [0.9, 0.999]
    assert {k: v for k, v in attributes.items() if k != "sweeper.config"} == {
        "sweeper.trial": 1,
        "robust_loss": -2.0,
        "violation": 0.5,
        "failure_fraction": 0.5,
        "draw_up": 4.0,
        "accuracy": 0.9,
    }


def test_a_trial_that_was_given_up(url: str) -> None:
    with opened(url) as mirror:
        mirror.add(given_up(3, "its lane died\n" + "x\n" * 900 + "out of memory"))
    (trial,) = copied(url).trials
    assert (trial.state, trial.value, trial.params) == (TrialState.FAIL, None, draws_of(3))
    error = trial.user_attrs["sweeper.error"]
    assert error.startswith("its lane died\n")
    assert error.endswith("out of memory")
    assert len(error) <= 500


def test_a_trial_that_was_pruned(url: str) -> None:
    given = given_up(3, "pruned at step 50 by median")
    with opened(url) as mirror:
        mirror.add(replace(given, state=PRUNED, rungs=[[10, -1.0], [50, 0.5]]))
    (trial,) = copied(url).trials
    assert (trial.state, trial.params) == (TrialState.PRUNED, draws_of(3))
    assert trial.intermediate_values == {10: -1.0, 50: 0.5}
    assert trial.user_attrs["sweeper.error"] == "pruned at step 50 by median"


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), None])
def test_a_trial_without_a_finite_value_holds_nothing_up(url: str, odd: float | None) -> None:
    with opened(url) as mirror:
        mirror.add(complete(0, robust_loss=odd, violation=odd))
        mirror.add(complete(1, told=2))
    assert [trial.state for trial in copied(url).trials] == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_baseline_has_what_it_shares_with_the_space(url: str) -> None:
    with opened(url) as mirror:
        mirror.add(complete(0, origin="baseline"))
        mirror.add(complete(1, told=2))
    baseline, searched = copied(url).trials
    shared = {"lr": 1e-3, "beta2": pytest.approx(1e-3), "amsgrad": False, "schedule": "constant"}
    assert baseline.params == shared
    assert baseline.user_attrs["sweeper.baseline"] is True
    assert "sweeper.baseline" not in searched.user_attrs


SPACE: dict[str, Any] = {
    "optimizer": {
        "choice": {
            "adam": {"eps": {"log_uniform": [1e-10, 1e-2]}, "betas": {"choice": [[0.9, 0.999]]}},
            "sgd": {"momentum": {"uniform": [0.5, 0.9]}},
        }
    },
    "lr": {"log_uniform": [1e-4, 1e-1]},
    "schedule": {"kind": "cosine", "warmup": {"uniform": [0.0, 0.1]}},
}


@pytest.mark.parametrize(
    ("space", "config", "draws"),
    [
        ({"lr": {"uniform": [0.5, 1]}}, {"lr": 2}, {}),
        ({"lr": {"uniform": [0.5, 1]}}, {"lr": 1}, {"lr": 1.0}),
        (
            {"beta2": {"one_minus_log_uniform": [1e-4, 1]}},
            {"betas": [0.9, 0.9999]},
            {"beta2": 1e-4},
        ),
        (
            {"lr": 0.1, "schedule": {"choice": ["constant", "cosine"]}},
            {},
            {"schedule": "constant"},
        ),
        (
            {"lr": 0.1, "schedule": {"choice": ["constant", "cosine"]}},
            {"schedule": {"kind": "cosine", "warmup": 0.3}},
            {},
        ),
        (
            SPACE,
            {"lr": 1e-3, "schedule": {"kind": "cosine", "warmup": 0.05}},
            {
                "optimizer": "adam",
                "optimizer.adam.eps": 1e-8,
                "optimizer.adam.betas": "[0.9, 0.999]",
                "lr": 1e-3,
                "schedule.cosine.warmup": 0.05,
            },
        ),
        (
            SPACE,
            {"optimizer": "sgd", "lr": 1.0, "momentum": 0.95, "schedule": "constant"},
            {"optimizer": "sgd"},
        ),
        (
            SPACE,
            {"lr": 1e-3, "schedule": {"kind": "cosine", "warmup": {"steps": 5}}, "eps": 0.5},
            {"optimizer": "adam", "optimizer.adam.betas": "[0.9, 0.999]", "lr": 1e-3},
        ),
    ],
)
def test_what_a_setting_shares_with_a_space(
    space: dict[str, Any], config: dict[str, Any], draws: dict[str, Any]
) -> None:
    assert dict(shared_draws(parse_space(space), parse(config).to_dict())) == draws


def test_a_replay_adds_nothing(url: str) -> None:
    trials = [complete(number, told=number + 1) for number in (0, 2, 1)]
    for _ in range(2):
        with opened(url) as mirror:
            for trial in [*trials, trials[0]]:
                mirror.add(trial)
    assert numbers(copied(url)) == [0, 2, 1]


@contextmanager
def commits_whose_answer_is_lost(mirror: Mirror) -> Iterator[None]:
    dialect = mirror._storage.engine.dialect
    real = dialect.do_commit

    def lost(connection: Any) -> None:
        real(connection)
        raise sqlite3.OperationalError("the connection was lost")

    dialect.do_commit = lost  # type: ignore[method-assign]
    try:
        yield
    finally:
        dialect.do_commit = real  # type: ignore[method-assign]


def test_a_trial_that_arrived_though_the_storage_failed_is_not_added_again(url: str) -> None:
    with opened(url) as mirror, commits_whose_answer_is_lost(mirror), pytest.raises(MirrorError):
        mirror.add(complete(0))
    with opened(url) as mirror:
        mirror.add(complete(0))
    assert numbers(copied(url)) == [0]


def test_a_locked_storage_is_an_error_soon(url: str, tmp_path: Path) -> None:
    with opened(f"{url}?timeout=0.2") as mirror:
        mirror.add(complete(0))
        other = sqlite3.connect(tmp_path / "optuna.db")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(MirrorError, match="database is locked"):
            mirror.add(complete(1))
        other.rollback()
        other.close()
        mirror.add(complete(1))
    assert numbers(copied(url)) == [0, 1]


def test_a_server_that_cuts_the_connection(server: Server) -> None:
    url = server.url.replace("postgresql:", "postgresql+psycopg:") + "&application_name=mirror"
    with opened(url) as mirror:
        mirror.add(complete(0))
        with psycopg.connect(server.url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'mirror'"
            )
        with pytest.raises(MirrorError, match="terminating connection"):
            mirror.add(complete(1, told=2))
    with opened(url) as mirror:
        for trial in (complete(0), complete(1, told=2), given_up(2, "poison")):
            mirror.add(trial)
    study = copied(url)
    assert numbers(study) == [0, 1, 2]
    assert [trial.params for trial in study.trials] == [draws_of(0), draws_of(1), draws_of(2)]
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("attributes", [{"sweeper.sweep_id": OTHER}, {}])
def test_a_study_of_somebody_else_is_left_alone(url: str, attributes: dict[str, str]) -> None:
    theirs = optuna.create_study(storage=url, study_name="copied")
    for key, value in attributes.items():
        theirs.set_user_attr(key, value)
    for _ in range(2):
        with opened(url) as mirror:
            assert mirror.name == f"copied-{ID[:8]}"
            mirror.add(complete(0))
    assert not copied(url).trials
    assert numbers(copied(url, f"copied-{ID[:8]}")) == [0]


def test_a_crash_while_the_study_is_made(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def cut_off(*args: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(optuna.Study, "set_user_attr", cut_off)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                Mirror(url, spec_with(), ID)
    with opened(url) as mirror:
        mirror.add(complete(0))
    with opened(url) as mirror:
        mirror.add(complete(0))
        assert numbers(copied(url, mirror.name)) == [0]


def test_two_sweeps_of_one_name_share_a_storage(url: str) -> None:
    with opened(url) as one, opened(url, OTHER) as other:
        one.add(complete(0))
        other.add(complete(0))
        assert {one.name, other.name} == {"copied", f"copied-{OTHER[:8]}"}
        assert numbers(copied(url, one.name)) == numbers(copied(url, other.name)) == [0]


def test_the_mirror_is_no_part_of_what_a_sweep_means(url: str) -> None:
    assert spec_with().search.mirror is None
    mirrored = spec_with(search={"mirror": url})
    assert mirrored.meaning() == spec_with().meaning()
    assert mirrored.meaning() != spec_with(search={"mirror": url, "seed": 1}).meaning()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("optuna.db", "not the URL of a database"),
        ("postgresql://user:secret@host:port/db", "not the URL of a database"),
        ("postgresql://user:secret{@host/db", "not the URL of a database"),
        ("redis://:secret@localhost", "Optuna can't store trials in 'redis'"),
        ("postgres://user:secret@host/db", "Optuna can't store trials in 'postgres'"),
        ("postgresql+psycopg://user:secret@host/db", "a URL with a password"),
        ("postgresql+psycopg://user@host/db?password=secret", "a URL with a password"),
        ("sqlite://", "a database in memory is lost"),
        ("sqlite:///:memory:", "a database in memory is lost"),
        ("sqlite:////nowhere/at/all/optuna.db", "the folder of /nowhere/at/all/optuna.db"),
    ],
)
def test_a_url_that_optuna_cannot_take(url: str, words: str) -> None:
    with pytest.raises(SweepError, match=words) as caught:
        mirror_module.check(url)
    assert caught.value.where == "search.mirror"
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(SweepError, match="needs the package 'MySQLdb'") as caught:
        mirror_module.check("mysql://user:secret@host/db")
    assert "secret" not in str(caught.value)


def test_a_url_is_checked_without_being_opened(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror_module.check(url)
    monkeypatch.chdir(tmp_path)
    mirror_module.check("sqlite:///optuna.db")
    mirror_module.check("sqlite:///file:optuna.db?uri=true")
    assert not list(tmp_path.iterdir())


def test_a_sweep_has_one_identity(tmp_path: Path) -> None:
    database = Database(tmp_path / "study.db", create=True)
    found: set[str] = set()
    threads = [Thread(target=lambda: found.add(sweep_id(database))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1
    assert found == {sweep_id(database)} == {database.meta("id")}
    database.close()


def test_several_objectives(url: str) -> None:
    objective = [{"metric": "accuracy", "direction": "maximize"}, "robust_loss"]
    with opened(url, objective=objective) as mirror:
        mirror.add(complete(1, objectives={"accuracy": 0.9, "robust_loss": -2.0}))
        mirror.add(complete(2, told=2, objectives={"accuracy": None, "robust_loss": -1.0}))
    study = copied(url)
    maximize, minimize = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
    assert study.directions == [maximize, minimize]
    first, second = study.trials
    assert (first.state, first.values) == (TrialState.COMPLETE, [0.9, -2.0])
    assert second.state == TrialState.FAIL
