"""The batch script runs for real, with stand-ins for Slurm's own commands.

On two hosts, each a network namespace of this machine; on this machine alone where namespaces
aren't to be had.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from manifests import CLUSTER, ROOT

from sweeper.errors import SweepError
from sweeper.results.status import status
from sweeper.study.folder import find

SCRIPT = CLUSTER / "slurm" / "sweep.sbatch"
BIN = Path(sys.executable).parent
# srun starts on a host what is to be started there; scontrol notes what it was asked.
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do
    [[ $1 != --nodelist=* ]] || node=${1#--nodelist=}
    shift
done
if [ -e "/run/netns/$node" ]; then exec ip netns exec "$node" "$@"; else exec "$@"; fi
"""
SCONTROL = """#!/usr/bin/env bash
echo "$*" >>"$SCONTROL_LOG"
[ "$1 $2" != "show hostnames" ] || tr , '\\n' <<<"$3"
"""
SPEC = """
name: slurmed
task: perceptron
horizon: 2_000_000
seeds: 1
space: {optimizer: adam, lr: {log_uniform: [1e-4, 1e-2]}}
budget: {trials: 8}
lanes: {slots: 4}
stability: {probe: false}
"""


def test_shellcheck_has_nothing_to_say() -> None:
    shellcheck = shutil.which("shellcheck", path=str(BIN))
    assert shellcheck
    done = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    broken = SCRIPT.read_text().replace('"$spec"', "$spec")
    done = subprocess.run([shellcheck, "-"], input=broken, capture_output=True, text=True)
    assert "SC2086" in done.stdout


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Names of two network namespaces with a cable between them, or of this machine alone."""
    names = [f"sweeper{os.getpid()}-{index}" for index in (1, 2)]
    try:
        for name in names:
            ip("netns", "add", name)
        ends = [part for name in names for part in ("netns", name)]
        ip("-n", names[0], "link", "add", "cable", "type", "veth", "peer", "cable", *ends[2:])
        for index, name in enumerate(names, start=1):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "address", "add", f"10.211.7.{index}/24", "dev", "cable")
            # Ray takes the address that has the way to the world.
            ip("-n", name, "route", "add", "default", "via", f"10.211.7.{3 - index}")
        yield names
    except (OSError, subprocess.CalledProcessError):
        yield ["here"]
    finally:
        for name in names:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                ip("netns", "delete", name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def first_port(job: int) -> int:
    """Of those that the script gives to a job."""
    line = re.search(r"^base=.*$", SCRIPT.read_text(), re.M)
    assert line
    script = f"SLURM_JOB_ID={job}; {line[0]}; echo $base"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_ports_of_a_job_are_its_own() -> None:
    blocks = {range(port, port + 1000) for port in map(first_port, range(4_711, 4_731))}
    assert len(blocks) == 20
    first, last = min(block[0] for block in blocks), max(block[-1] for block in blocks)
    # Ray refuses to start where one is its client server's, which every node has in mind.
    assert first > 10_001
    assert last < 32_768  # those that Linux gives to clients


def job_number() -> int:
    """A number of a job whose first port is free."""
    for number in range(os.getpid(), os.getpid() + 20):
        with socket.socket() as listener:
            if listener.connect_ex(("127.0.0.1", first_port(number))) != 0:
                return number
    raise AssertionError("no port is free")


def environment(folder: Path, number: int, hosts: list[str]) -> dict[str, str]:
    """What a job finds: Slurm's variables, its commands, the environment that was active."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("RAY_")},
        "PATH": os.pathsep.join([str(folder), str(BIN), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TORCH_COMPILE_DISABLE": "1",
        "SCONTROL_LOG": str(folder / "scontrol.log"),
        "SLURM_JOB_ID": str(number),
        "SLURM_JOB_NODELIST": ",".join(hosts),
        "SLURM_CPUS_ON_NODE": "1",
    }


@pytest.mark.timeout(300)
def test_a_job_whose_time_is_over_saves_its_runs_and_goes_back_to_the_queue(
    hosts: list[str], tmp_path: Path
) -> None:
    number, storage = job_number(), tmp_path / "sweeps"
    (tmp_path / "spec.yaml").write_text(SPEC)
    log = tmp_path / "job.log"
    there = ["ip", "netns", "exec", hosts[0]] if len(hosts) > 1 else []
    with log.open("w") as file:
        job = subprocess.Popen(
            [*there, "bash", str(SCRIPT), str(tmp_path / "spec.yaml"), str(storage)],
            env=environment(tmp_path, number, hosts),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 200
        while lanes_at_work(storage) < len(hosts):
            assert job.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
        [token] = storage.glob(".ray-token-*")
        assert token.stat().st_mode & 0o077 == 0
        job.send_signal(signal.SIGTERM)  # as --signal=B:TERM@120 does, to the shell alone
        assert job.wait(90) == 130, log.read_text()
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
        shutil.rmtree(f"/tmp/ray-{number}", ignore_errors=True)
    assert status(find("slurmed", str(storage)))["state"] == "interrupted"
    assert list((storage / "slurmed" / "rows").iterdir())
    asked = (tmp_path / "scontrol.log").read_text().splitlines()
    assert asked == [f"show hostnames {','.join(hosts)}", f"requeue {number}"]
    assert not list(storage.glob(".ray-token-*"))
    assert not [
        one for one in psutil.process_iter(["cmdline"])
        if any(f"/tmp/ray-{number}/" in part for part in one.info["cmdline"] or [])
    ]  # fmt: skip


def lanes_at_work(storage: Path) -> int:
    """Lanes that have runs; every host has room for one."""
    try:
        found = status(find("slurmed", str(storage)))
    except SweepError:  # there is no sweep yet
        return 0
    return sum(lane["held"] > 0 for lane in found.get("lanes", []))
