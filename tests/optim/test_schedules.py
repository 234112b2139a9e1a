"""Schedules against torch.optim.lr_scheduler, at every step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from sweeper.optim import schedules
from sweeper.optim.configuration import parse


def our_lrs(schedule: dict[str, object], horizon: int, steps: int) -> list[float]:
    configuration = parse({"optimizer": "sgd", "lr": 0.5, "schedule": schedule})
    values = torch.tensor(schedules.row_values(configuration, horizon), dtype=torch.float64)
    columns = {n: v.expand(steps) for n, v in zip(schedules.COLUMNS, values, strict=True)}
    step = torch.arange(steps, dtype=torch.float64)
    horizons = torch.full((steps,), float(horizon), dtype=torch.float64)
    return (0.5 * schedules.factor(step, horizons, columns)).tolist()


def torch_lrs(build, steps: int) -> list[float]:  # type: ignore[no-untyped-def]
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler: LRScheduler = build(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    horizon=st.integers(20, 600),
    share=st.floats(0.0, 0.9),
    final=st.floats(0.0, 1.0),
)
@pytest.mark.filterwarnings("ignore:The epoch parameter in")  # torch warns about its own call
def test_warmup_and_cosine_are_those_of_torch(horizon: int, share: float, final: float) -> None:
    warmup = round(share * horizon)

    def build(optimizer: torch.optim.Optimizer) -> LRScheduler:
        cosine = CosineAnnealingLR(optimizer, horizon - warmup, eta_min=0.5 * final)
        if warmup < 2:
            return cosine
        rise = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
        return SequentialLR(optimizer, [rise, cosine], milestones=[warmup])

    ours = our_lrs({"kind": "cosine", "warmup": share, "final": final}, horizon, horizon)
    # torch multiplies from step to step; the closed form doesn't: rounding only.
    expected = torch_lrs(build, horizon)
    if warmup == 1:  # one step at the peak, then the cosine from its start
        expected = [0.5, *expected[:-1]] if horizon > 1 else expected
        expected = expected[:1] + torch_lrs(build_shifted(horizon, final), horizon - 1)
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)


def build_shifted(horizon: int, final: float):  # type: ignore[no-untyped-def]
    return lambda optimizer: CosineAnnealingLR(optimizer, horizon - 1, eta_min=0.5 * final)


def test_constant_keeps_lr_after_the_warmup() -> None:
    ours = our_lrs({"kind": "constant", "warmup": {"steps": 4}}, 10, 12)
    assert ours == pytest.approx([0.125, 0.25, 0.375, 0.5, *[0.5] * 8])


def test_cosine_keeps_its_last_value_past_its_end() -> None:
    ours = our_lrs({"kind": "cosine", "final": 0.2}, 10, 40)
    assert ours[10:] == pytest.approx([0.1] * 30)
    assert min(ours[:10]) > 0.1


def test_rows_of_different_kinds_share_a_call() -> None:
    kinds = [{"kind": "constant"}, {"kind": "cosine", "warmup": 0.5, "final": 0.1}]
    rows = [
        schedules.row_values(parse({"lr": 1.0, "schedule": kind}), horizon)
        for kind, horizon in zip(kinds, (7, 20), strict=True)
    ]
    columns = dict(zip(schedules.COLUMNS, torch.tensor(rows, dtype=torch.float64).T, strict=True))
    step = torch.tensor([3.0, 15.0], dtype=torch.float64)
    found = schedules.factor(step, torch.tensor([7.0, 20.0], dtype=torch.float64), columns)
    assert found.tolist() == pytest.approx([1.0, 0.55])
