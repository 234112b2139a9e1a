"""The folder of a sweep: a damaged or missing sweep.yaml, and a study that is on a server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from places import Place
from postgres_server import Server

from sweeper.errors import SweepError
from sweeper.spec import SweepSpec, check
from sweeper.study.database import RUNNING, Trial, Unavailable
from sweeper.study.engine import schema_of
from sweeper.study.folder import Folder

TRIALS = [Trial(0, "search", {"lr": 1.0}, {}, RUNNING, None, None)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    raw = {
        "name": "small",
        "task": "perceptron",
        "horizon": 100,
        "space": {"lr": {"log_uniform": [1e-5, 1e-1]}},
        "storage": str(tmp_path),
        "budget": {"trials": 7},
        "stress": {"top": 0},
    }
    spec = check(raw)
    found = Folder(spec.folder)
    found.create(spec)
    return found


def test_a_spec_that_was_cut_off_is_one_message(folder: Folder) -> None:
    file, whole = folder.path / "sweep.yaml", folder.read_spec()
    text = file.read_bytes()
    end = text.index(b"commit:")
    lines = [n for n, sign in enumerate(text[:end]) if sign == ord("\n")]
    for length in (0, *lines, *(n + 5 for n in lines), *range(end, end + 7)):
        file.write_bytes(text[:length])
        for read in (folder.read_spec, folder.database):
            with pytest.raises(SweepError) as caught:
                read()
            assert str(file) in caught.value.where, text[:length]
            assert "Put a copy of it back" in caught.value.cure
    file.write_bytes(text)
    assert folder.read_spec() == whole


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\0" * 500, "can't read it: not YAML"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"- a", "not a mapping"),
        (b"schema: 1\nspec: [1]\nversions: {}\ncommit: null", "cut off"),
        (b"schema: 1\nspec: {}\nversions: {}\ncommit: null", "the key 'name' is missing"),
        (b"schema: 2\nanything: else", "schema 2; allowed: 1. Use the version of sweeper"),
        (b"{}", "cut off"),
    ],
)
def test_a_damaged_spec(folder: Folder, content: bytes, says: str) -> None:
    (folder.path / "sweep.yaml").write_bytes(content)
    with pytest.raises(SweepError) as caught:
        folder.read_spec()
    assert says in str(caught.value)
    assert "sweep.yaml" in str(caught.value)


def test_trials_without_a_spec_are_not_mixed_with_new_ones(folder: Folder) -> None:
    spec = folder.read_spec()
    file = folder.path / "sweep.yaml"
    file.unlink()
    folder.create(spec)  # laid out by half: no trial yet
    database = folder.database()
    database.add_trials(TRIALS, [])
    database.close()
    file.unlink()
    with pytest.raises(SweepError, match=r"holds trials, but sweep\.yaml is missing"):
        folder.create(spec)


def test_a_study_in_the_folder_stays_there(folder: Folder) -> None:
    spec = folder.read_spec().model_copy(update={"study_url": "postgresql://h/d"})
    with pytest.raises(SweepError, match=r"the study of this sweep is in .*study\.db"):
        folder.write_spec(spec)
    folder.write_spec(folder.read_spec())


# The folder of a sweep whose study is on a server


@pytest.fixture
def spec(postgres: Place, tmp_path: Path) -> SweepSpec:
    raw = {
        "name": f"On.Server-{postgres.schema}",
        "task": "perceptron",
        "horizon": 100,
        "space": {"lr": {"log_uniform": [1e-5, 1e-1]}},
        "storage": str(tmp_path / "a"),
        "study_url": postgres.url,
    }
    return check(raw)


def moved(spec: SweepSpec, **changes: Any) -> SweepSpec:
    return spec.model_copy(update=changes)


def test_a_folder_opens_the_database_that_its_spec_names(spec: SweepSpec, server: Server) -> None:
    folder = Folder(spec.folder)
    folder.create(spec)
    assert not (folder.path / "study.db").exists()
    database = folder.database()
    database.add_trials(TRIALS, [])
    with psycopg.connect(server.url) as connection:
        count = f"SELECT count(*) FROM {schema_of(spec.name)}.trials"
        assert connection.execute(count.encode()).fetchone() == (1,)
    database.close()
    elsewhere = folder.path.rename(folder.path.with_name("renamed"))
    database = Folder(elsewhere).database()
    assert database.trials() == TRIALS
    database.close()


def test_a_folder_that_was_half_laid_out_is_laid_out_again(spec: SweepSpec) -> None:
    folder = Folder(spec.folder)
    for _ in range(2):
        folder.create(spec)
        (folder.path / "sweep.yaml").unlink()


def test_a_name_that_another_sweep_has_on_that_server(spec: SweepSpec) -> None:
    Folder(spec.folder).create(spec)
    other = moved(spec, storage=str(spec.folder.parent.with_name("b")))
    with pytest.raises(SweepError, match="another sweep named") as caught:
        Folder(other.folder).create(other)
    assert schema_of(spec.name) in caught.value.cure
    assert not Folder(other.folder).exists


def test_the_same_place_on_another_machine(spec: SweepSpec) -> None:
    """Its folder has the same path: the trials tell the difference."""
    folder = Folder(spec.folder)
    folder.create(spec)
    database = folder.database()
    database.add_trials(TRIALS, [])
    database.close()
    (folder.path / "sweep.yaml").unlink()
    with pytest.raises(SweepError, match="another sweep named"):
        folder.create(spec)


def test_of_two_machines_that_begin_at_once_one_gets_the_name(spec: SweepSpec) -> None:
    def create(place: str) -> bool:
        one = moved(spec, storage=str(spec.folder.parent / place))
        try:
            Folder(one.folder).create(one)
        except SweepError:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(create, "abc")) == [False, False, True]


def test_the_study_stays_where_it_is(spec: SweepSpec) -> None:
    folder = Folder(spec.folder)
    folder.create(spec)
    folder.write_spec(spec)
    with pytest.raises(SweepError, match="the study of this sweep is in postgresql://"):
        folder.write_spec(moved(spec, study_url=None))
    assert folder.read_spec().study_url == spec.study_url


def test_a_folder_whose_server_is_down(spec: SweepSpec, dying: Server) -> None:
    folder = Folder(spec.folder)
    folder.create(spec)
    dying.kill()
    with pytest.raises(Unavailable):
        folder.database()
