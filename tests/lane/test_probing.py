"""Probes of a lane: exact steps, no trace in the trajectories, and what they forecast."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sweeper.lane import rows, trajectories
from sweeper.lane.lane import Lane
from sweeper.lane.pack import Machine, Pack
from sweeper.lane.probe_log import ProbeLog
from sweeper.lane.probe_steps import probe_steps
from sweeper.lane.probing import Probing, snapshots
from sweeper.lane.protocol import Answer, Grant, Identity, Report
from sweeper.lane.record import Record
from sweeper.lane.run import Run
from sweeper.lane.settings import LaneSettings
from sweeper.lane.storage import Storage
from sweeper.optim.configuration import parse
from sweeper.stability.limits import Limits
from sweeper.stability.verdict import RunFacts
from sweeper.tasks.registry import TaskName
from sweeper.tasks.task import Task

EAGER = Machine("cpu", "float32", compiled=False)
ADAM = {"optimizer": "adam", "lr": 1e-3}
NAN = {"optimizer": "adamw", "lr": 1e6, "weight_decay": 1e6}
PERCEPTRON = TaskName("perceptron", {})


class Stub:
    """A study that grants a list of runs, the saved rows of some with them."""

    def __init__(self, runs: list[Run], files: Mapping[int, str] | None = None) -> None:
        self.todo, self.count, self.files = list(runs), len(runs), dict(files or {})
        self.done: dict[int, Any] = {}
        self.parts: list[trajectories.Part] = []
        self.saved: dict[int, str] = {}

    def sync(self, report: Report) -> Answer:
        self.done.update(report.done)
        self.parts += [report.part] if report.part is not None else []
        self.saved |= {run: str(report.row_file) for run in report.saved}
        taken = [self.todo.pop(0) for _ in range(min(report.room, len(self.todo)))]
        grants = tuple(Grant(run, self.files.get(run.id)) for run in taken)
        return Answer(grant=grants, end=len(self.done) == self.count)


def lane_of(
    stub: Stub, folder: Path, task: TaskName = PERCEPTRON, *, probe: bool = True, **changes: Any
) -> Lane:
    horizon = max(run.horizon for run in stub.todo)
    given = {"capacity": 4, "chunk_s": 0.05, "save_s": 1000.0, **changes}
    settings = LaneSettings(
        task=task,
        machine=EAGER,
        limits=Limits(),
        stress_horizon=4 * horizon if probe else None,
        **given,
    )
    return Lane(Identity("a", 0, "here"), settings, stub, Storage(str(folder)))


def trained(
    folder: Path, runs: list[Run], task: TaskName = PERCEPTRON, **changes: Any
) -> tuple[dict[int, Any], Any]:
    """Results by run, and the table of the trajectories."""
    stub = Stub(runs)
    lane_of(stub, folder, task, **changes).run()
    return stub.done, trajectories.read(Storage(str(folder)), stub.parts)


def facts(horizon: int, warmup: int = 0) -> RunFacts:
    return RunFacts(horizon, warmup, 1, 1e-9)


def steps_of(horizon: int, warmup: int = 0, *, full_batch: bool = True) -> tuple[int, ...]:
    return probe_steps(facts(horizon, warmup), full_batch=full_batch)


def mixed(horizon: int) -> list[Run]:
    configs = [
        ADAM,
        {**ADAM, "eps": 1e-3, "schedule": "cosine"},
        NAN,
        {**ADAM, "lr": 3e-4, "weight_decay": 0.1},
        {**ADAM, "amsgrad": True},
        {**ADAM, "lr": 5e-4},
    ]
    return [Run(i, i, config, i, horizon) for i, config in enumerate(configs)]


def test_steps_are_few_early_and_exact() -> None:
    assert steps_of(5000) == (250, 500, 1000, 2000)
    assert steps_of(2000) == (100, 200)
    assert steps_of(700) == ()
    assert steps_of(5000, warmup=1003)[0] == 1010
    assert steps_of(5000, warmup=4500) == ()
    assert steps_of(2000, full_batch=False) == (100, 1600)
    for horizon in (1000, 1234, 20_000, 10**6):
        steps = steps_of(horizon)
        assert all(step % 10 == 0 and step < horizon for step in steps)
        assert 0 < len(steps) <= 20 and list(steps) == sorted(set(steps))
        if len(steps) > 1:
            assert steps[1] <= 0.11 * horizon  # two by half of an onset at 0.2


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[int, Any], Any]]:
    """The same runs with probes, without, and in other chunks."""
    ways: dict[str, dict[str, Any]] = {
        "on": {},
        "off": {"probe": False},
        "short": {"chunk_s": 0.003, "save_s": 0.5},
    }
    return {
        way: trained(tmp_path_factory.mktemp(way), mixed(2000), **changes)
        for way, changes in ways.items()
    }


def test_trajectories_are_the_same_with_and_without_probes(several: Any) -> None:
    on, off = several["on"][1], several["off"][1]
    for name in off.column_names:
        if name not in (*trajectories.PROBES, trajectories.FORECAST):
            assert on[name].equals(off[name]), name
    assert "probes" not in several["off"][0][0]
    assert off["sharpness"].null_count == len(off)


def test_probes_are_the_same_in_any_chunks_and_beside_anybody(several: Any) -> None:
    found, short = several["on"][0], several["short"][0]
    for run in found:
        assert found[run]["probes"] == short[run]["probes"], run
    steps = [[one["step"] for one in found[run]["probes"]] for run in range(6)]
    assert steps == [[100, 200], [100, 200], [], [100, 200], [100, 200], [100, 200]]
    assert several["on"][1].equals(several["short"][1])


def test_probes_stand_in_the_trajectories(several: Any) -> None:
    results, table = several["on"]
    known = table.filter(table["sharpness"].is_valid()).to_pylist()
    expected = [(run, one) for run in range(6) for one in results[run]["probes"]]
    assert [(row["run"], row["step"]) for row in known] == [
        (r, one["step"]) for r, one in expected
    ]
    for row, (_, one) in zip(known, expected, strict=True):
        assert all(row[name] == one[name] for name in (*trajectories.PROBES, "forecast_step"))


def test_a_row_that_is_not_finite_is_not_probed(several: Any) -> None:
    found = several["on"][0][2]
    assert (found["finite"], found["probes"], found["sharpness"]) == (False, [], None)


def test_amsgrad_says_why_there_is_no_forecast(several: Any) -> None:
    found = several["on"][0][4]
    assert found["forecast_step"] is None and "never falls" in found["forecast_reason"]
    assert found["sharpness"] > 0


def test_a_run_goes_on_from_its_saved_probes(tmp_path: Path, several: Any) -> None:
    stub = Stub(mixed(2000)[:2])
    lane = lane_of(stub, tmp_path)

    def on_chunk() -> None:
        if min(record.step for record in lane.records.values()) >= 100:
            lane.leave()

    lane.run(on_chunk)
    assert set(stub.saved) == {0, 1}
    row = rows.read_row(Storage(str(tmp_path)), stub.saved[0], 0)
    assert row["probe.vector"].shape == (1001,)
    after = Stub(mixed(2000)[:2], stub.saved)
    lane_of(after, tmp_path, capacity=4).run()
    for run in (0, 1):
        assert after.done[run]["probes"] == several["on"][0][run]["probes"]


def test_a_row_of_a_version_without_probes_still_loads() -> None:
    task = PERCEPTRON.build()
    run = Run(0, 0, ADAM, 0, 5000)
    old = Record(run, task, Limits(), 1e-7)
    old.take(np.ones((30, 8), dtype=np.float32))
    new = Record(run, task, Limits(), 1e-7, 20_000)
    new.restore(old.save())
    assert new.probes is not None and new.step == 30 and new.probes.found == []
    assert new.result()["forecast_confidence"] == "none"


def test_the_default_of_adam_is_forecast_early(tmp_path: Path) -> None:
    runs = [Run(0, 0, ADAM, 0, 5000), Run(1, 1, {**ADAM, "eps": 0.1}, 0, 5000)]
    runs.append(Run(2, 2, {**ADAM, "eps": 1e-2, "lr": 3e-4}, 0, 5000))
    found, _ = trained(tmp_path, runs, capacity=3, chunk_s=0.25)
    onset = found[0]["onset_step"]
    assert onset is not None
    early = [one for one in found[0]["probes"] if one["step"] <= onset / 2][1:]
    assert early and all(
        abs(one["forecast_step"] - onset) < 0.05 * onset and one["forecast_confidence"] != "poor"
        for one in early
    )
    assert found[0]["forecast_step"] == pytest.approx(onset, rel=0.05)
    # The closed form is 0.0832 for lr 1e-3; Ritz values lie a little below.
    assert found[0]["safe_eps"] == pytest.approx(0.083, rel=0.06)
    assert (found[1]["forecast_step"], found[1]["failed"]) == (None, False)
    assert found[1]["sharpness_share"] < 1
    print(found[2]["forecast_step"], found[2]["forecast_confidence"])


def test_mini_batches_have_a_sharpness_and_no_forecast(tmp_path: Path) -> None:
    runs = [Run(0, 0, ADAM, 0, 1000)]
    found, _ = trained(tmp_path, runs, TaskName("digits", {}), capacity=2)
    assert found[0]["sharpness"] > 0
    assert found[0]["forecast_step"] is None and found[0]["safe_eps"] is None
    assert "mini-batches" in found[0]["forecast_reason"]


@pytest.mark.parametrize(
    "config",
    [
        {"optimizer": "nadam"},
        {"optimizer": "radam"},
        {"optimizer": "rmsprop", "centered": True, "lr": 1e-4},
        {"optimizer": "stable_adamw"},
        {"optimizer": "adagrad"},
        {"optimizer": "sgd", "lr": 1e-4, "momentum": 0.9, "weight_decay": 0.5},
        {"optimizer": "adaiw", "lr": 1e-4},
        {"optimizer": "lion"},
        {"optimizer": "adam", "eps_hat": True, "amsgrad": True, "no_decay": ["bias"]},
    ],
)
def test_the_divisor_is_that_of_the_rule(config: dict[str, Any]) -> None:
    """Against the root that the next update returns where gradients and decays leave it."""
    task = PERCEPTRON.build()
    configuration = parse(config)
    pack = Pack(task, configuration.program, 2, EAGER)
    slot = pack.place(Run(0, 0, configuration.to_dict(), 3, 1000))
    rule, arena, kept = pack.arena.rule, pack.arena, {}
    update = rule.update

    def listening(*given: Any) -> Any:
        kept["move"], kept["c"] = update(*given), given[3]
        return kept["move"]

    object.__setattr__(rule, "update", listening)
    try:
        pack.train(30)
    finally:
        object.__setattr__(rule, "update", update)
    log = ProbeLog(configuration, facts(1000), 4000, full_batch=True)
    (shot,) = snapshots(pack, [slot], [log])
    assert shot.step == 30 and torch.equal(shot.theta, arena.theta[slot])
    root = kept["move"].root
    assert (shot.root is None) == (root is None) == (shot.eps is None)
    if root is not None:
        assert torch.equal(shot.root, root[slot])
        assert shot.eps == float(kept["c"]["eps"][slot])
    probing = Probing(task, 2, EAGER)
    probing.take(pack, [slot], [log])
    probing.flush()
    (found,) = log.found
    inputs = np.concatenate([task.data[0].double().numpy(), np.ones((64, 1))], axis=1)
    hessian = 2 * inputs.T @ inputs + np.diag(shot.decay.double().numpy())
    scale = np.ones(1001)
    if shot.root is not None:
        scale = 1 / np.sqrt(shot.root.double().numpy() + shot.eps)
    exact = shot.lr * np.linalg.eigvalsh(scale[:, None] * hessian * scale)[-1]
    assert found["sharpness"] == pytest.approx(exact, rel=0.05)
    json.dumps(log.result())


class Once(torch.autograd.Function):
    """A copy whose gradient has no derivative, as that of some fused kernels."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return Unknown.apply(grad)


class Unknown(Once):
    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        raise RuntimeError("derivative of this kernel is not implemented")


def test_a_model_without_second_derivatives_trains_unprobed() -> None:
    task = Task(
        model=lambda: torch.nn.Linear(3, 1),
        loss=lambda output, target: (Once.apply(output) - target).square().sum(),
        data=(torch.ones(4, 3), torch.ones(4, 1)),
    )
    pack = Pack(task, parse(ADAM).program, 2, EAGER)
    slot = pack.place(Run(0, 0, parse(ADAM).to_dict(), 0, 1000))
    pack.train(10)
    log = ProbeLog(parse(ADAM), facts(1000), 4000, full_batch=True)
    probing = Probing(task, 2, EAGER)
    probing.take(pack, [slot], [log])
    probing.flush()
    assert log.found == []
    assert "can't be differentiated twice: derivative" in log.result()["forecast_reason"]
