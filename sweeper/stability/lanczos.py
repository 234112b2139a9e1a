"""Both ends of the spectra of R symmetric matrices at once, by Lanczos with full
reorthogonalisation (Paige 1972; Parlett 1998, chapter 13).

`R` rows, `P` parameters, `m` iterations. A row's result depends on that row alone, bit for bit
where the product does. Nothing waits for the device until all products are made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Images shorter than this many roundings of the largest one seen are nothing but rounding.
_BREAKDOWN_ROUNDINGS = 10


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The outermost Ritz values of every row; NaN where its product or start isn't finite.

    Args:
        top, bottom: `[R]`, float64 on the host. They lie within the true spectrum.
        top_residual, bottom_residual: `[R]`, as they. Some eigenvalue is that close (the outermost
            one unless the start is nearly orthogonal to its eigenvector), up to the rounding of
            the product.
        vector: `[R, P]`, the Ritz vector of `top`, of length 1 up to rounding, on the device.
    """

    top: Tensor
    bottom: Tensor
    top_residual: Tensor
    bottom_residual: Tensor
    vector: Tensor


def lanczos(product: Callable[[Tensor], Tensor], start: Tensor, iterations: int) -> Spectrum:
    """Ritz values after `iterations` products, fewer where P is smaller.

    A row whose Krylov space ends earlier has the eigenvalues of that space: all of them unless
    the start is orthogonal to some eigenvector. Memory: m times that of theta.

    Args:
        product: symmetric matrix of every row times a vector, `[R, P] -> [R, P]`.
        start: `[R, P]`, not zero; neither its length nor its sign matter.
        iterations: m, >= 1.
    """
    tolerance = _BREAKDOWN_ROUNDINGS * torch.finfo(start.dtype).eps
    vector = start / lengths(start)
    goes_on = torch.ones_like(start[:, :1], dtype=torch.bool)
    largest = torch.zeros_like(start[:, :1])
    basis: list[Tensor] = []
    diagonal, coupling, used = [], [], []
    for _ in range(min(iterations, start.shape[1])):
        basis.append(vector)
        image = product(vector)
        along = dot(vector, image)
        image = _without(image, basis)
        length = lengths(image)
        diagonal.append(along)
        coupling.append(length)
        used.append(goes_on)
        largest = torch.maximum(largest, torch.maximum(along.abs(), length))
        # A row that has ended goes on with zeros, which change nothing. So does one with NaN.
        goes_on = goes_on & (length > tolerance * largest)
        vector = torch.where(goes_on, image / length, 0)
    values, residuals, weights = _ritz(_host(diagonal), _host(coupling), _host(used) > 0)
    return Spectrum(
        top=values[1],
        bottom=values[0],
        top_residual=residuals[1],
        bottom_residual=residuals[0],
        vector=_combined(basis, weights),
    )


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner product of every row, `[R, 1]`."""
    return (left * right).sum(1, keepdim=True)


def lengths(rows: Tensor) -> Tensor:
    """L2 norm of every row, `[R, 1]`, without the overflow and underflow of squares."""
    largest = rows.abs().amax(1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    scaled = rows / largest
    return largest * dot(scaled, scaled).sqrt()


def _without(image: Tensor, basis: list[Tensor]) -> Tensor:
    """The part of each row orthogonal to its basis, to rounding: modified Gram-Schmidt, twice.

    The first time against the last two alone: along all others the image of the last one has
    nothing but rounding, which the second time removes.
    Vector by vector: batched matrix products round by the alignment of a row, that is its slot.
    """
    rest = image.clone()
    for vector in [*basis[-2:], *basis]:
        rest.addcmul_(vector, dot(vector, rest), value=-1)
    return rest


def _combined(basis: list[Tensor], weights: Tensor) -> Tensor:
    """The sum of the basis with weights `[R, m]`."""
    weights = weights.to(basis[0])
    found = torch.zeros_like(basis[0])
    for at, vector in enumerate(basis):
        found.addcmul_(vector, weights[:, at, None])
    return found


def _host(columns: list[Tensor]) -> Tensor:
    """Columns `[R, 1]` as one matrix `[R, m]`, float64 on the host."""
    return torch.cat(columns, dim=1).cpu().double()


def _ritz(diagonal: Tensor, coupling: Tensor, used: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outermost eigenvalues of the tridiagonal matrix of every row, all float64 on the host.

    Args:
        diagonal, coupling: `[R, m]`; the last coupling used leads out of the space.
        used: `[R, m]`, true for the first dimensions of a row, those of its Krylov space.

    Returns:
        Values and residuals, `[2, R]` each, bottom and top; weights `[R, m]` of the top vector.
    """
    finite = (torch.isfinite(diagonal) & torch.isfinite(coupling) | ~used).all(1, keepdim=True)
    inside = used & finite
    largest = torch.maximum(diagonal.abs(), coupling).where(inside, 0).amax(1, keepdim=True)
    largest = largest.where(largest > 0, 1)
    # Entries are now at most 1 and eigenvalues at most 3: at 4 unused dimensions come last.
    diagonal = (diagonal / largest).where(inside, 4)
    coupling = (coupling / largest).where(inside, 0)
    inner = coupling[:, :-1].where(inside[:, 1:], 0)
    matrix = torch.diag_embed(diagonal) + inner.diag_embed(1) + inner.diag_embed(-1)
    values, vectors = torch.linalg.eigh(matrix)
    last = (used.sum(1) - 1)[:, None]
    ends = torch.cat([torch.zeros_like(last), last], dim=1)  # [R, 2]
    chosen = vectors.gather(2, ends[:, None].expand(-1, vectors.shape[1], -1))  # [R, m, 2]
    leaving = chosen.gather(1, last[:, :, None].expand(-1, -1, 2))[:, 0]  # [R, 2]
    residuals = (coupling.gather(1, last) * leaving).abs() * largest
    found = (values.gather(1, ends) * largest).where(finite, torch.nan)
    residuals = residuals.where(finite, torch.nan)
    return found.T, residuals.T, chosen[:, :, 1].where(finite, torch.nan)
