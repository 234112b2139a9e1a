"""The files for `ray up`, by Ray's own loader, botocore and shellcheck."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
import yaml
from botocore.exceptions import ParamValidationError
from botocore.validate import validate_parameters
from manifests import CLUSTER, Document
from ray.autoscaler._private.util import prepare_config, validate_config

FILES = sorted((CLUSTER / "ray").glob("*.yaml"))
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


def read(name: str) -> Document:
    return dict(yaml.safe_load((CLUSTER / "ray" / f"{name}.yaml").read_text()))


def prepared(config: Document) -> Document:
    """What `ray up` does with a file before it starts machines."""
    found: Document = prepare_config(config)
    validate_config(found)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ray_takes_it(path: Path) -> None:
    config = prepared(read(path.stem))
    head = config["available_node_types"][config["head_node_type"]]
    workers = [
        one
        for name, one in config["available_node_types"].items()
        if name != config["head_node_type"]
    ] or [head]  # machines of one's own have a type for all
    assert all(one["min_workers"] == 0 < one["max_workers"] for one in workers)
    assert sum(one["max_workers"] for one in workers) == config["max_workers"]


def edited(name: str, **changes: Any) -> Document:
    return read(name) | changes


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (edited("aws", max_worker=3), "Additional properties are not allowed"),
        (edited("aws", head_node_type="heads"), "must be one of `available_node_types`"),
        (edited("gcp", idle_timeout_minutes="five"), "is not of type 'number'"),
        (edited("gcp", setup_commands="make"), "can only concatenate|is not of type 'array'"),
        (edited("aws", cluster_name=None), "is not of type 'string'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ray_refuses_a_broken_one(config: Document, said: str) -> None:
    with pytest.raises((jsonschema.ValidationError, ValueError, TypeError), match=said):
        prepared(config)


def test_ray_refuses_own_machines_without_addresses() -> None:
    with pytest.raises(Exception, match="head_ip"):
        prepared(edited("on-premises", provider={"type": "local"}))


def test_ec2_would_take_the_machines() -> None:
    """botocore checks the parameters of a call before it is sent."""
    model = boto3.session.Session().client("ec2", region_name="us-west-2").meta.service_model
    shape = model.operation_model("RunInstances").input_shape
    types = read("aws")["available_node_types"]
    for one in types.values():
        validate_parameters(one["node_config"] | {"MinCount": 1, "MaxCount": 1}, shape)
        assert one["node_config"]["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    spot = {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert all(
        types[name]["node_config"]["InstanceMarketOptions"] == spot for name in ("cpu", "gpu")
    )
    with pytest.raises(ParamValidationError, match="InstanceMarketOption"):
        validate_parameters({"MinCount": 1, "MaxCount": 1, "InstanceMarketOption": spot}, shape)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_its_commands_are_sound(path: Path) -> None:
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    assert shellcheck
    config = read(path.stem)
    lines = [line for key in COMMANDS for line in config.get(key, [])]
    assert len(lines) > 5
    # SC2016: the login shell is to expand it. SC2046: no or two words are meant.
    # SC2154, SC2086: Ray sets RAY_HEAD_IP, an address.
    done = subprocess.run(
        [shellcheck, "--shell=bash", "--exclude=SC2016,SC2046,SC2154,SC2086", "-"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nobody_else_gets_in(path: Path) -> None:
    config = read(path.stem)
    starts = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    for line in starts:
        assert "dashboard-host" not in line  # Ray's default is 127.0.0.1, that of its files isn't
        assert "ray start" not in line or "RAY_AUTH_MODE=token ray start" in line
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert {".git", "cluster/.env"} <= set(config["rsync_exclude"])
