"""The batch script runs for real on one node, with stand-ins for Slurm's own commands."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from manifests import CLUSTER, ROOT

from sweeper.results.status import status
from sweeper.study.folder import find

SCRIPT = CLUSTER / "slurm" / "sweep.sbatch"
BIN = Path(sys.executable).parent
# srun starts on this machine what is to be started on a node; scontrol says what it was asked.
SRUN = '#!/usr/bin/env bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n'
SCONTROL = """#!/usr/bin/env bash
echo "$*" >>"$SCONTROL_LOG"
[ "$1 $2" = "show hostnames" ] && echo node1
exit 0
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


def job_number() -> int:
    """A number of a job whose first port is free."""
    for number in range(os.getpid(), os.getpid() + 20):
        with socket.socket() as listener:
            if listener.connect_ex(("127.0.0.1", 10000 + number % 20 * 1000)) != 0:
                return number
    raise AssertionError("no port is free")


def environment(folder: Path, number: int) -> dict[str, str]:
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
        "SLURM_JOB_NODELIST": "node1",
        "SLURM_CPUS_ON_NODE": "2",
    }


@pytest.mark.timeout(300)
def test_a_job_whose_time_is_over_saves_its_runs_and_goes_back_to_the_queue(
    tmp_path: Path,
) -> None:
    number, storage = job_number(), tmp_path / "sweeps"
    (tmp_path / "spec.yaml").write_text(SPEC)
    log = tmp_path / "job.log"
    with log.open("w") as file:
        job = subprocess.Popen(
            ["bash", str(SCRIPT), str(tmp_path / "spec.yaml"), str(storage)],
            env=environment(tmp_path, number),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 200
        while not (storage / "slurmed" / "study.db").exists() or steps(storage) == 0:
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
    assert asked == ["show hostnames node1", f"requeue {number}"]
    assert not list(storage.glob(".ray-token-*"))
    assert not [
        one for one in psutil.process_iter(["cmdline"])
        if any(f"/tmp/ray-{number}/" in part for part in one.info["cmdline"] or [])
    ]  # fmt: skip


def steps(storage: Path) -> int:
    return int(status(find("slurmed", str(storage))).get("run_steps", 0))
