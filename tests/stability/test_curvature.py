"""Probes against whole Hessians, on their own and in batches."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from losses import (
    DESIGN,
    NETWORK_SIZE,
    dense,
    least_squares,
    network,
    normal,
    packed,
    quadratic,
    symmetric,
)
from torch import Tensor
from torch._dynamo.utils import counters

from sweeper.errors import SweepError
from sweeper.stability.curvature import Curvature, ProbePlan, ProbePoint, probe
from sweeper.stability.hessian import hessian_product
from sweeper.stability.prober import Prober

# All of the space of the network, and as exact as float64 is with spectra up to 1e4.
WHOLE = ProbePlan(iterations=NETWORK_SIZE)
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def seeds(count: int) -> list[tuple[int, int]]:
    return [(seed, 7) for seed in range(count)]


def network_point(count: int, **changes: Any) -> ProbePoint:
    """With a second moment over three decades."""
    point = ProbePoint(
        theta=normal(count, NETWORK_SIZE, seed=4) / 2,
        lr=torch.logspace(-3, -1, count, dtype=torch.float64),
        seeds=seeds(count),
        root=10 ** normal(count, NETWORK_SIZE, seed=8).clamp(-1.5, 1.5),
        eps=torch.full((count,), 0.05, dtype=torch.float64),
    )
    return replace(point, **changes)


def symmetrised(point: ProbePoint) -> Tensor:
    """Hp of every row."""
    assert point.denominator is not None
    scale = point.denominator.rsqrt()
    return scale[:, :, None] * dense(network, point.theta) * scale[:, None, :]


def quadratic_point(*matrices: Tensor, **changes: Any) -> ProbePoint:
    count, size = len(matrices), matrices[0].shape[0]
    point = ProbePoint(
        theta=normal(count, size, seed=0),
        lr=torch.ones(count, dtype=torch.float64),
        seeds=seeds(count),
        batch=(torch.stack(matrices),),
    )
    return replace(point, **changes)


def of_quadratic(point: ProbePoint, plan: ProbePlan) -> Curvature:
    gradient = packed(quadratic)
    return probe(gradient, hessian_product(gradient), point, plan)


def of_network(point: ProbePoint, plan: ProbePlan) -> Curvature:
    gradient = packed(network)
    return probe(gradient, hessian_product(gradient), point, plan)


def assert_same(found: Curvature, expected: Curvature, rows: Any, other: Any) -> None:
    """Bit for bit."""
    for field in fields(Curvature):
        left, right = getattr(found, field.name), getattr(expected, field.name)
        if left is None or right is None:
            assert left is right
            continue
        left, right = left[rows].double(), right[other].double()
        assert torch.equal(left.nan_to_num(-1e99), right.nan_to_num(-1e99)), field.name


def test_least_squares_has_the_spectrum_of_its_design() -> None:
    gradient = packed(least_squares)
    lr = torch.tensor([0.1, 3.0])
    point = ProbePoint(theta=normal(2, 12, seed=0), lr=lr, seeds=seeds(2))
    found = probe(gradient, hessian_product(gradient), point, ProbePlan(iterations=12))
    truth = 2 * torch.linalg.svdvals(DESIGN) ** 2
    torch.testing.assert_close(found.top, truth[:1].expand(2), **EXACT)
    torch.testing.assert_close(found.bottom, truth[-1:].expand(2), **EXACT)
    torch.testing.assert_close(found.sharpness, lr.double() * truth[0], **EXACT)
    assert found.converged.all()
    assert torch.isnan(found.moment_share).all()
    assert found.top_vector is None  # H and Hp are one


def test_both_ends_of_a_network_and_its_saddles() -> None:
    point = network_point(6)
    found = of_network(point, WHOLE)
    truth = torch.linalg.eigvalsh(dense(network, point.theta))
    assert (truth[:, 0] < -0.01).all()
    torch.testing.assert_close(found.top, truth[:, -1], **EXACT)
    torch.testing.assert_close(found.bottom, truth[:, 0], **EXACT)


def test_sharpness_is_the_top_of_the_preconditioned_hessian() -> None:
    point = network_point(6)
    assert point.denominator is not None
    found = of_network(point, WHOLE)
    # D^-1 H isn't symmetric, but its eigenvalues are real and the same.
    values = torch.linalg.eigvals(dense(network, point.theta) / point.denominator[:, :, None])
    truth = point.lr * values.real.amax(1)
    # The general eigenvalue problem is worse conditioned, by the ratio of D's ends, 600 here.
    torch.testing.assert_close(found.sharpness, truth, rtol=1e-8, atol=0)
    assert found.converged.all()
    images = (symmetrised(point) @ found.sharpness_vector[:, :, None])[:, :, 0]
    expected = (found.sharpness / point.lr)[:, None] * found.sharpness_vector
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-7)


def test_curvature_along_the_gradient() -> None:
    point = network_point(6)
    assert point.denominator is not None
    found = of_network(point, WHOLE)
    step = packed(network)(point.theta)[0] / point.denominator
    whole = dense(network, point.theta)
    bent = torch.einsum("ri,rij,rj->r", step, whole, step)
    expected = point.lr * bent / (step * step * point.denominator).sum(1)
    torch.testing.assert_close(found.gradient_curvature, expected, **EXACT)
    assert (found.gradient_curvature <= found.sharpness).all()


def test_in_one_dimension_every_curvature_is_the_same() -> None:
    point = quadratic_point(
        torch.tensor([[6.0]], dtype=torch.float64),
        torch.tensor([[-6.0]], dtype=torch.float64),
        root=torch.full((2, 1), 3.0, dtype=torch.float64),
        eps=torch.ones(2, dtype=torch.float64),
    )
    found = of_quadratic(point, ProbePlan())
    for column, expected in (
        (found.top, 6.0),
        (found.bottom, 6.0),
        (found.trace, 6.0),
        (found.sharpness, 1.5),
        (found.gradient_curvature, 1.5),
    ):
        assert column.tolist() == pytest.approx([expected, -expected], rel=1e-14)
    assert found.trace_error.tolist() == pytest.approx([0, 0], abs=1e-14)
    assert found.moment_share.tolist() == pytest.approx([0.75, 0.75], rel=1e-14)


def test_trace_is_right_within_the_error_it_states() -> None:
    count, samples = 400, 10
    theta = network_point(1).theta.expand(count, -1).contiguous()
    point = network_point(count, theta=theta, root=None, eps=None)
    found = of_network(point, ProbePlan(iterations=1, trace_samples=samples))
    whole = dense(network, theta[:1])[0]
    # Rademacher: 2 (|H|_F^2 - sum H_ii^2) a sample.
    variance = 2 * (whole.square().sum() - whole.diag().square().sum()) / samples
    off = (found.trace - whole.trace()) / variance.sqrt()
    # 400 independent values: the mean of `off` has deviation 0.05, its variance about 0.07 and
    # that of the stated variances less. Limits at four deviations.
    assert abs(off.mean().item()) < 0.2
    assert off.var().item() == pytest.approx(1, abs=0.3)
    assert (found.trace_error.square().mean() / variance).item() == pytest.approx(1, abs=0.2)


def test_moment_share_is_how_fast_the_sharpness_follows_the_second_moment() -> None:
    point = network_point(5)
    assert point.root is not None
    share = of_network(point, WHOLE).moment_share
    assert ((share > 0.3) & (share < 0.99)).all()  # neither all of D nor nothing
    step = 1e-5
    more = of_network(replace(point, root=point.root * (1 + step)), WHOLE).sharpness
    less = of_network(replace(point, root=point.root * (1 - step)), WHOLE).sharpness
    slope = (more / less).log() / (2 * step)
    # A central difference is off by step^2 and by rounding / step, 1e-9 or so.
    torch.testing.assert_close(-slope, share, rtol=0, atol=1e-7)


def test_a_warm_start_needs_fewer_iterations() -> None:
    before = network_point(8)
    vectors = of_network(before, WHOLE)
    later = replace(before, theta=before.theta + 0.003 * normal(8, NETWORK_SIZE, seed=11))
    needed = []
    for warm in (None, vectors.sharpness_vector):
        point = replace(later, sharpness_start=warm)
        done = [of_network(point, ProbePlan(iterations=n)).converged for n in range(1, 21)]
        first = torch.stack(done).double().argmax(0)
        assert done[-1].all()
        needed.append(first)
    assert (needed[1] < needed[0]).all()


@pytest.mark.parametrize("preconditions", [False, True])
def test_a_warm_start_sees_an_eigenvector_that_overtook(preconditions: bool) -> None:
    """The old top stays an eigenvector: a start from it alone would never leave it."""
    size = 20
    matrix = torch.diag(torch.tensor([2.0, 1.0, *[0.1] * 18], dtype=torch.float64))
    old = torch.eye(size, dtype=torch.float64)[1:2]
    ones = torch.ones(1, size, dtype=torch.float64)
    point = quadratic_point(matrix, sharpness_start=old, top_start=old)
    if preconditions:
        point = replace(point, root=ones, eps=torch.zeros(1, dtype=torch.float64))
    found = of_quadratic(point, ProbePlan(iterations=8))
    assert found.sharpness.item() == pytest.approx(2, rel=1e-12)
    assert found.top.item() == pytest.approx(2, rel=1e-12)
    assert found.bottom.item() == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize("nothing", [0.0, torch.nan, torch.inf])
def test_a_row_without_a_vector_starts_cold_beside_warm_ones(nothing: float) -> None:
    plan = ProbePlan(iterations=5)
    point = network_point(3)
    cold = of_network(point, plan)
    warm = cold.sharpness_vector.clone()
    warm[1] = nothing
    found = of_network(replace(point, sharpness_start=warm, top_start=warm), plan)
    assert_same(found, cold, 1, 1)
    assert not torch.equal(found.sharpness[0], cold.sharpness[0])


def test_a_bad_row_is_nan_and_alone() -> None:
    point = network_point(5)
    expected = of_network(point, ProbePlan())
    point.theta[1, 3] = torch.nan
    point.theta[2] = torch.inf
    assert point.root is not None
    point.root[3, 0] = torch.nan
    found = of_network(point, ProbePlan())
    assert_same(found, expected, [0, 4], [0, 4])
    for bad in (1, 2, 3):
        assert torch.isnan(found.sharpness[bad]) and torch.isnan(found.sharpness_residual[bad])
        assert torch.isnan(found.gradient_curvature[bad]) and torch.isnan(found.moment_share[bad])
        assert not found.converged[bad]
    assert torch.isnan(found.top[1:3]).all() and torch.isnan(found.trace[1:3]).all()
    # The Hessian itself of row 3 is sound.
    assert torch.equal(found.top[3], expected.top[3])


def test_zero_hessian() -> None:
    zero = torch.zeros(6, 6, dtype=torch.float64)
    found = of_quadratic(quadratic_point(zero, symmetric(*range(6), seed=0)), ProbePlan())
    for name in ("top", "bottom", "trace", "trace_error", "sharpness", "sharpness_residual"):
        assert getattr(found, name)[0] == 0, name
    assert found.converged.tolist() == [True, True]
    assert math.isnan(found.gradient_curvature[0])  # there is no gradient
    assert found.top[1].item() == pytest.approx(5, rel=1e-13)


def test_parts_can_be_left_out() -> None:
    point = network_point(3)
    whole = of_network(point, ProbePlan())
    found = of_network(point, ProbePlan(trace_samples=0, raw=False))
    for name in ("top", "bottom", "top_residual", "bottom_residual", "trace", "trace_error"):
        assert torch.isnan(getattr(found, name)).all()
    assert found.top_vector is None
    assert torch.equal(found.sharpness, whole.sharpness)


@pytest.mark.parametrize("preconditions", [False, True])
@pytest.mark.parametrize(
    "plan", [ProbePlan(), ProbePlan(iterations=3, trace_samples=0, raw=False)]
)
def test_cost_is_what_is_evaluated(plan: ProbePlan, preconditions: bool) -> None:
    gradient, counts = packed(network), {"gradient": 0.0, "product": 0.0}
    product = hessian_product(gradient)

    def counted_gradient(theta: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        counts["gradient"] += 1
        return gradient(theta, *batch)

    def counted_product(*parts: Tensor) -> Tensor:
        counts["product"] += 1
        return product(*parts)

    point = network_point(2) if preconditions else network_point(2, root=None, eps=None)
    probe(counted_gradient, counted_product, point, plan)
    expected = counts["gradient"] + 2.1 * counts["product"]
    assert plan.cost_in_gradients(preconditions=preconditions) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"iterations": 0}, "iterations: 0; allowed: an int >= 1"),
        ({"trace_samples": 1}, "trace_samples: 1; allowed: 0 or >= 2"),
        ({"tolerance": 0.0}, "tolerance: 0.0; allowed: a number > 0"),
    ],
)
def test_a_bad_plan_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SweepError, match=says):
        ProbePlan(**changes)


@pytest.mark.parametrize(
    ("compiled", "dtype"), [(False, torch.float32), (False, torch.float64), (True, torch.float32)]
)
def test_a_row_is_the_same_alone_and_beside_others(compiled: bool, dtype: torch.dtype) -> None:
    point = network_point(11)
    assert point.root is not None
    warm = of_network(point, ProbePlan(iterations=3))
    point = replace(
        point,
        theta=point.theta.to(dtype),
        root=point.root.to(dtype),
        sharpness_start=warm.sharpness_vector.to(dtype),
    )
    prober = Prober(packed(network), 4, ProbePlan(iterations=8), compiled=compiled)
    together = prober.probe(point)
    assert together.sharpness.shape == (11,) and together.sharpness_vector.shape == (11, 40)
    for row in (0, 3, 4, 8, 10):
        alone = replace(
            point,
            **{name: getattr(point, name)[row : row + 1] for name in ("theta", "lr", "seeds")},
            **{name: getattr(point, name)[row : row + 1] for name in ("root", "eps")},
            sharpness_start=point.sharpness_start[row : row + 1],
        )
        assert_same(together, prober.probe(alone), row, 0)


def test_random_vectors_are_those_of_seed_and_step() -> None:
    point = network_point(1)
    plan = ProbePlan(iterations=2)
    first = of_network(point, plan)
    assert_same(of_network(point, plan), first, 0, 0)
    for other in ((0, 8), (1, 7), (7, 0)):
        found = of_network(replace(point, seeds=[other]), plan)
        assert found.trace != first.trace and found.sharpness != first.sharpness


def test_compiled_is_eager_and_compiled_once() -> None:
    torch._dynamo.reset()
    counters.clear()
    eager = Prober(packed(network), 4, WHOLE, compiled=False)
    compiled = Prober(packed(network), 4, WHOLE, compiled=True)
    for count in (9, 1, 4):
        point = network_point(count)
        found, expected = compiled.probe(point), eager.probe(point)
        for name in ("top", "bottom", "trace", "trace_error", "sharpness", "gradient_curvature"):
            # Sums in another order, float64, on spectra up to 1e4.
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), **EXACT)
        assert torch.equal(found.converged, expected.converged)
    assert counters["stats"]["unique_graphs"] == 2  # the gradient and the product
