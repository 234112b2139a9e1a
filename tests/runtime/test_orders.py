"""What is sent to a cluster and what comes back, without one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from sweeper.cli import cli
from sweeper.cli.relayed import Relayed
from sweeper.errors import SweepError
from sweeper.runtime.jobs import environment, relay, sweeps
from sweeper.runtime.jobs.client import Client
from sweeper.runtime.jobs.environment import Order
from sweeper.runtime.jobs.relay import Outcome


@pytest.mark.parametrize(
    "words",
    [
        ["best", "a", "b", "--top", "3", "--filter", "draw_up < 3", "--by", "final"],
        ["best", "a", "--sort", "draw_up DESC", "--format", "parquet"],
        ["compare", "a", "--trials", "1,recommended"],
        ["report", "a", "--x", "lr", "--y", "eps"],
        ["trajectories", "a", "--trial", "3", "--series", "loss,sharpness", "-o", "x.csv"],
        ["export", "a", "--format", "torch", "--trial", "0"],
        ["best", "-a'b; rm", "--filter", "--by"],
    ],
)
def test_a_command_reaches_the_cluster_as_it_was_given(words: list[str]) -> None:
    command = cli.commands[words[0]]
    assert isinstance(command, Relayed)
    options, values = words[1:], []
    if options[0].startswith("-"):  # a name like an option comes after --
        values, options = ["--", options[0]], options[1:]
    given = parsed([*options, "--storage", "here", "--address", "http://x", *values], command)
    arguments = command.arguments(given)
    assert arguments[0] == words[0]
    again = parsed(with_output(arguments[1:], words[0]), command)
    own = {"address", "storage", "output"}
    assert {k: v for k, v in again.params.items() if k not in own} == {
        k: v for k, v in given.params.items() if k not in own
    }
    assert "here" not in arguments
    assert "http://x" not in arguments


def with_output(arguments: list[str], name: str) -> list[str]:
    """As the job adds it, where the command can't do without."""
    return ["--output", "there.csv", *arguments] if name == "trajectories" else arguments


def parsed(words: list[str], command: click.Command) -> click.Context:
    return command.make_context(command.name, list(words))


def test_whatever_a_command_prints_and_writes_comes_back() -> None:
    everything = bytes(range(256)) * 50
    found = Outcome(code=1, out=everything, err="schön\n".encode(), file=everything)
    log = f"INFO Runtime env\n\r{relay.packed(found)}INFO after\n"
    assert relay.unpacked(log) == found
    without = Outcome(code=0, out=b"", err=b"")
    assert relay.unpacked(relay.packed(without)) == without
    assert relay.unpacked("Traceback: No module named torch\n") is None


def test_an_order_arrives_as_it_was_sent() -> None:
    order = Order(("launch", "small", "--address", "auto"), spec="name: small\n")
    sent = environment.runtime_env(order, given={"pip": ["x"], "env_vars": {"MINE": "1"}})
    assert environment.received(sent["env_vars"]) == order
    assert sent["env_vars"]["MINE"] == "1"
    assert sent["pip"] == ["x"]
    assert (Path(sent["py_modules"][0]) / "cli" / "job.py").is_file()
    assert "working_dir" not in sent
    with pytest.raises(SweepError, match="too long to be submitted"):
        environment.runtime_env(Order(("launch",), spec="x" * 200_000))
    with pytest.raises(SweepError, match="SWEEPER_JOB is not set"):
        environment.received({})


def test_a_job_runs_its_command_and_packs_what_it_said(tmp_path: Path) -> None:
    known = done(Order(("tasks",), is_relayed=True))
    assert known.code == 0
    assert b"perceptron" in known.out
    failed = done(Order(("best", "nothing", "--storage", str(tmp_path)), is_relayed=True))
    assert (failed.code, failed.out) == (2, b"")
    assert b"there is no sweep 'nothing'" in failed.err


def done(order: Order) -> Outcome:
    """What a job of that order comes to, as a process of its own."""
    sent = environment.runtime_env(order)["env_vars"]
    # An address in the cluster's environment leads to where the job is already.
    variables = {**os.environ, **sent, "SWEEPER_ADDRESS": "http://127.0.0.1:1"}
    ran = subprocess.run(
        [sys.executable, "-m", environment.MODULE, *order.arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=variables,
    )
    found = relay.unpacked(ran.stdout)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:8265", "no address of a cluster"),
        ("ray://127.0.0.1:10001", "no address of a cluster"),
        ("http://", "no address of a cluster"),
        ("http://[::1", "no address of a cluster"),
        ("http://127.0.0.1:99999", "no address of a cluster"),
        ("http://me:hunter2@127.0.0.1:8265", "RAY_JOB_HEADERS"),
        ("http://127.0.0.1:1", "no cluster answers at http://127.0.0.1:1"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_message(address: str, said: str) -> None:
    with pytest.raises(SweepError, match=said) as found:
        Client(address)
    assert "hunter2" not in str(found.value)


@pytest.mark.parametrize("text", ["no json", "[1]", '"x"'])
def test_headers_that_are_none_are_refused_unseen(
    text: str, monkeypatch: pytest.MonkeyPatch, listening: str
) -> None:
    monkeypatch.setenv("RAY_JOB_HEADERS", text)
    with pytest.raises(SweepError, match="RAY_JOB_HEADERS: no JSON mapping") as found:
        Client(listening)
    assert "no json" not in str(found.value)


@pytest.fixture
def listening() -> Any:
    """An address where somebody listens, and says nothing."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield f"http://127.0.0.1:{one.getsockname()[1]}"


def test_a_sweep_without_a_job_has_the_default_storage() -> None:
    assert sweeps.storage_of(None) == sweeps.DEFAULT_STORAGE
