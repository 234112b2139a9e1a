"""Lanczos against matrices of known spectra."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from losses import normal, symmetric
from torch import Tensor

from sweeper.stability.lanczos import Spectrum, dot, lanczos, lengths

# float64 with some dozen operations in a row: rounding relative to the largest eigenvalue.
ROUNDING = 1e-13
FLOAT32 = torch.finfo(torch.float32).eps


def of(matrices: Tensor) -> Callable[[Tensor], Tensor]:
    """The product with a matrix for every row; row by row, so that slots round alike."""
    return lambda vector: torch.stack([m @ v for m, v in zip(matrices, vector, strict=True)])


def spectrum_of(eigenvalues: Sequence[float], iterations: int, seed: int = 0) -> Spectrum:
    matrix = symmetric(*eigenvalues, seed=seed)
    return lanczos(of(matrix[None]), normal(1, len(eigenvalues), seed=seed + 1), iterations)


@pytest.mark.parametrize(
    "eigenvalues",
    [
        (3.0,),
        (-3.0,),
        (-1.0, 2.0),
        (1.0, 1.0, 1.0),
        (0.0, 0.0, 5.0, 5.0),
        (-7.0, -3.0, -2.0, -1.5),
        (1e-6, 1e-3, 1.0, 1e3, 1e6),
        tuple(range(-5, 20)),
    ],
)
@pytest.mark.parametrize("more", [0, 1, 30])
def test_the_whole_space_has_the_exact_ends(eigenvalues: tuple[float, ...], more: int) -> None:
    found = spectrum_of(eigenvalues, len(eigenvalues) + more)
    close = {"rel": 0, "abs": ROUNDING * max(map(abs, eigenvalues))}
    assert found.top.item() == pytest.approx(max(eigenvalues), **close)
    assert found.bottom.item() == pytest.approx(min(eigenvalues), **close)
    assert found.top_residual.item() == pytest.approx(0, **close)
    assert found.bottom_residual.item() == pytest.approx(0, **close)


@pytest.mark.parametrize("iterations", [1, 2, 3, 5, 8, 13, 21])
def test_an_eigenvalue_lies_within_the_residual(iterations: int) -> None:
    eigenvalues = [*torch.linspace(-2, 10, 39).tolist(), 12.0]
    for seed in range(20):
        found = spectrum_of(eigenvalues, iterations, seed)
        truth = torch.tensor(eigenvalues, dtype=torch.float64)
        for value, residual in (
            (found.top, found.top_residual),
            (found.bottom, found.bottom_residual),
        ):
            assert (truth - value).abs().min() <= residual + 12 * ROUNDING
            assert -2 - 12 * ROUNDING <= value.item() <= 12 + 12 * ROUNDING


def test_the_residual_is_that_of_the_vector() -> None:
    matrix = symmetric(*range(30), seed=0)
    found = lanczos(of(matrix[None]), normal(1, 30, seed=1), 8)
    vector = found.vector[0]
    rest = matrix @ vector - found.top * vector
    assert vector.norm().item() == pytest.approx(1, abs=1e-14)
    assert found.top_residual.item() > 1e-3  # else the next line says nothing
    assert rest.norm().item() == pytest.approx(found.top_residual.item(), rel=1e-9)


def test_rounding_does_not_bring_copies_of_the_top() -> None:
    """Without reorthogonalisation copies of the top take the place of the bottom."""
    eigenvalues = [*torch.linspace(1, 2, 28).tolist(), 1e4, 1e6]
    matrix = symmetric(*eigenvalues, seed=0).float()
    found = lanczos(of(matrix[None]), normal(1, 30, seed=1).float(), 30)
    truth = torch.linalg.eigvalsh(matrix.double())
    # Products in float32 with 30 terms.
    rounding = 30 * FLOAT32 * 1e6
    assert found.top.item() == pytest.approx(truth[-1].item(), abs=rounding)
    assert found.bottom.item() == pytest.approx(truth[0].item(), abs=rounding)

    wide = symmetric(*torch.logspace(-6, 0, 60).tolist(), seed=2)
    found = lanczos(of(wide[None]), normal(1, 60, seed=3), 60)
    # A copy would leave the bottom, 1e-6, off by far more.
    assert found.bottom.item() == pytest.approx(1e-6, rel=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("iterations", [7, 30, 40])
@pytest.mark.parametrize(
    "eigenvalues", [torch.logspace(-2, 2, 30), 1 + 1e-4 * torch.arange(30), torch.arange(30) - 20]
)
def test_the_basis_is_orthonormal_to_rounding(
    eigenvalues: Tensor, iterations: int, dtype: torch.dtype
) -> None:
    matrix = symmetric(*eigenvalues.tolist(), seed=0).to(dtype)
    basis = []

    def product(vector: Tensor) -> Tensor:
        basis.append(vector[0].double())
        return of(matrix[None])(vector)

    lanczos(product, normal(1, 30, seed=1).to(dtype), iterations)
    assert len(basis) == min(iterations, 30)
    # Zeros once everything left is rounding.
    kept = torch.stack([vector for vector in basis if vector.any()])
    assert len(kept) >= 7
    # Inner products of 30 terms. Orthogonalised once, they are up to 1e15 roundings.
    close = {"rtol": 0, "atol": 10 * torch.finfo(dtype).eps}
    torch.testing.assert_close(kept @ kept.T, torch.eye(len(kept)).double(), **close)


def test_a_start_in_a_small_space_sees_that_space() -> None:
    diagonal = torch.tensor([[1.0, 2, 3, 4, 5, 6]], dtype=torch.float64)
    start = torch.tensor([[0.0, 1, 0, 0, 1, 0]], dtype=torch.float64)
    found = lanczos(lambda vector: diagonal * vector, start, 6)
    assert found.top.item() == pytest.approx(5, abs=6 * ROUNDING)
    assert found.bottom.item() == pytest.approx(2, abs=6 * ROUNDING)
    assert found.top_residual.item() == pytest.approx(0, abs=6 * ROUNDING)
    expected = torch.tensor([0.0, 0, 0, 0, 1, 0], dtype=torch.float64)
    torch.testing.assert_close(found.vector[0].abs(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("iterations", [1, 4, 20])
def test_zero_matrix(iterations: int) -> None:
    start = normal(2, 7, seed=0)
    found = lanczos(torch.zeros_like, start, iterations)
    for column in (found.top, found.bottom, found.top_residual, found.bottom_residual):
        assert column.tolist() == [0, 0]
    # Any vector is right: the start.
    torch.testing.assert_close(found.vector, start / lengths(start))


@pytest.mark.parametrize("scale", [1e-36, 1e-25, 1.0, 1e25, 1e30])
def test_squares_neither_overflow_nor_vanish(scale: float) -> None:
    matrix = (symmetric(-1, 0.5, 2, 3, 7, seed=0) * scale).float()
    found = lanczos(of(matrix[None]), normal(1, 5, seed=1).float() * 1e-25, 5)
    # Five float32 operations in a row, and a few digits lost to denormal numbers at 1e-36.
    close = {"rel": 0, "abs": scale * (1e-3 if scale == 1e-36 else 7 * 20 * FLOAT32)}
    assert found.top.item() == pytest.approx(7 * scale, **close)
    assert found.bottom.item() == pytest.approx(-scale, **close)


@pytest.mark.parametrize("bad", ["matrix", "infinite", "overflow", "start", "zero start", "late"])
def test_a_bad_row_is_nan_and_alone(bad: str) -> None:
    matrices = torch.stack([symmetric(1, 2, 3, 9, seed=at) for at in range(3)])
    start = normal(3, 4, seed=9)
    expected = lanczos(of(matrices), start, 4)
    if bad == "matrix":
        matrices[1, 2, 2] = torch.nan
    elif bad == "infinite":
        matrices[1, 2, 2] = torch.inf
    elif bad == "overflow":
        matrices[1] *= 1e308
    elif bad == "start":
        start[1, 0] = torch.nan
    elif bad == "zero start":
        start[1] = 0
    calls = 0

    def product(vector: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        image = of(matrices)(vector)
        if bad == "late" and calls == 3:
            image[1] = torch.nan
        return image

    found = lanczos(product, start, 4)
    for name in ("top", "bottom", "top_residual", "bottom_residual", "vector"):
        column, right = getattr(found, name), getattr(expected, name)
        assert torch.isnan(column[1]).all(), name
        assert torch.equal(column[[0, 2]], right[[0, 2]]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 5, 37, 1001])
def test_rows_do_not_depend_on_their_slot(size: int, dtype: torch.dtype) -> None:
    """Odd sizes: rows then lie at different alignments."""
    diagonal, start = normal(size, seed=0).to(dtype), normal(size, seed=1).to(dtype)
    found = lanczos(lambda v: diagonal * v, start.expand(9, -1).contiguous(), 15)
    for column in (found.top, found.bottom, found.top_residual, found.vector):
        assert (column == column[:1]).all()
    mixed = normal(9, size, seed=2).to(dtype)
    mixed[4] = start
    beside = lanczos(lambda v: diagonal * v, mixed, 15)
    assert torch.equal(beside.top[4], found.top[0])
    assert torch.equal(beside.vector[4], found.vector[0])


def test_a_row_that_ended_waits_for_the_others() -> None:
    diagonal = torch.stack([torch.ones(6), torch.arange(6.0)]).double()
    start = normal(2, 6, seed=0)
    found = lanczos(lambda vector: diagonal * vector, start, 6)
    # Six dimensions in float64.
    assert found.top.tolist() == pytest.approx([1, 5], abs=6 * ROUNDING)
    assert found.bottom.tolist() == pytest.approx([1, 0], abs=6 * ROUNDING)


def test_lengths_and_inner_products() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e30, 4e30], [torch.nan, 1.0]])
    assert lengths(rows)[:3, 0].tolist() == pytest.approx([5, 0, 5e30], rel=1e-6)
    assert torch.isnan(lengths(rows)[3, 0])
    assert dot(rows[:1], rows[:1].flip(1)).tolist() == [[24]]
