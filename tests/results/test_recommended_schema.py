"""The schema of recommended.json fits what sweeps write, and nothing that isn't one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import sweeper

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/recommended.schema.json").read_text())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    spec = {
        "name": "schema",
        "task": "perceptron",
        "horizon": 100,
        "seeds": 1,
        "baseline": {"optimizer": "adam", "lr": 1e-3},
        "space": {"optimizer": "adam", "lr": {"log_uniform": [1e-3, 1e-2]}},
        "budget": {"trials": 3},
        "stress": {"top": 1, "seeds": 1, "neighbours": 0},
        "tracking": {"later": True},
        "storage": str(tmp_path_factory.mktemp("sweeps")),
    }
    handle = sweeper.launch(spec, local=True)
    found: dict[str, Any] = json.loads((handle.folder.path / "recommended.json").read_text())
    return found


def test_what_a_sweep_writes_fits(written: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(written, SCHEMA)
    assert set(written) == set(SCHEMA["properties"])
    proven = SCHEMA["properties"]["proven"]
    assert set(written["proven"]) == set(proven["properties"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 2),
        (("config", "lr"), "1e-3"),
        (("proven", "horizon"), 0),
        (("evidence", "failure_fraction"), 2),
        (("mlflow",), {}),
    ],
)
def test_what_is_none_does_not(written: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    changed = json.loads(json.dumps(written))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed, SCHEMA)
