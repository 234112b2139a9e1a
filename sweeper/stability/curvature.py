"""Curvature of R runs where they stand: the spectrum that decides whether their steps are stable.

`R` rows, `P` parameters. H is the Hessian of the loss alone, without weight decay, on the batch
given. A rule that divides by D = root + eps, root the square root of its second moment, sees
Hp = D^-1/2 H D^-1/2: the eigenvalues of D^-1 H, but symmetric. Of a rule that divides by nothing
Hp is H. Steps are stable while lr lambda_max(Hp) is below a threshold of the rule: 2 for gradient
descent, 2 (1 + beta1) / (1 - beta1) for Adam (Cohen et al. 2022, 2207.14484).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sweeper.errors import SweepError
from sweeper.optim.step import Gradient
from sweeper.stability.directions import Directions
from sweeper.stability.hessian import HessianProduct
from sweeper.stability.lanczos import Spectrum, dot, lanczos, lengths

# Of one Hessian product, compiled: measured 1 for least squares, 2 to 3 for small networks.
_GRADIENTS_A_PRODUCT = 2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan:
    """What a probe computes.

    Args:
        iterations: of each Lanczos run, >= 1. Memory: so many times theta.
        trace_samples: vectors for the trace; 0 for no trace, else >= 2.
        raw: whether to find the ends of the spectrum of H beside that of Hp.
        tolerance: residual of the sharpness, relative to it, at which it counts as converged, > 0.
            Its error is of the order of the square.
    """

    iterations: int = 20
    trace_samples: int = 8
    raw: bool = True
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        for name, is_right, allowed in (
            ("iterations", self.iterations >= 1, "an int >= 1"),
            ("trace_samples", self.trace_samples == 0 or self.trace_samples >= 2, "0 or >= 2"),
            ("tolerance", self.tolerance > 0, "a number > 0"),
        ):
            if not is_right:
                raise SweepError(f"{getattr(self, name)!r}", where=name, allowed=allowed)

    def cost_in_gradients(self, *, preconditions: bool = True) -> float:
        """Gradient evaluations that a probe of as many rows costs, orthogonalisation not counted.

        Args:
            preconditions: whether the rule divides by a second moment; else Hp is H.
        """
        runs = 2 if self.raw and preconditions else 1
        products = runs * self.iterations + self.trace_samples + 1
        return 1 + _GRADIENTS_A_PRODUCT * products


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePoint:
    """R runs at the step where they are probed.

    Args:
        theta: `[R, P]`.
        lr: `[R]`.
        seeds: (seed, step) of every run, ints >= 0: its random vectors.
        batch: arguments of the gradient beside theta, R rows each.
        root: `[R, P]`, square root of the second moment with its bias correction; None for rules
            that divide by nothing.
        eps: `[R]`, added to it; with root only.
        sharpness_start, top_start: `[R, P]`, the vectors of the probe before; rows of zeros or
            with NaN for runs that have none.
    """

    theta: Tensor
    lr: Tensor
    seeds: Sequence[tuple[int, int]]
    batch: tuple[Tensor, ...] = ()
    root: Tensor | None = None
    eps: Tensor | None = None
    sharpness_start: Tensor | None = None
    top_start: Tensor | None = None

    def __post_init__(self) -> None:
        assert (self.root is None) == (self.eps is None)

    @property
    def denominator(self) -> Tensor | None:
        """D, `[R, P]`."""
        if self.root is None or self.eps is None:
            return None
        return self.root + self.eps.to(self.root)[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curvature:
    """What a probe found: `[R]` each, float64 on the host. NaN for what it didn't compute, and for
    rows with values that aren't finite.

    Args:
        top, bottom: outermost Ritz values of H, their residuals beside them (see Spectrum).
        trace: of H (Hutchinson 1989), mean over the samples; trace_error is its standard error.
        sharpness: lr lambda_max(Hp).
        sharpness_residual: lr times the residual of that Ritz value.
        gradient_curvature: lr u^T Hp u / u^T u with u = D^-1/2 g, the gradient in the coordinates
            of Hp; so lr d^T H d / d^T D d along the update d = D^-1 g without momentum. It can't
            exceed the sharpness of the same batch. Bai et al. 2025 (2506.04805) take
            g^T D^-1 H g / g^T g, times what momentum gives. NaN where g is zero.
        moment_share: sum of u_i^2 root_i / (root_i + eps) over the top vector u of Hp, 0 to 1:
            how much of D there is the second moment and not eps. The sharpness grows by this share
            of the rate at which the second moment's root decays. NaN without root.
        converged: bool, whether sharpness_residual <= tolerance |sharpness|.
        sharpness_vector, top_vector: `[R, P]` on the device, Ritz vectors of Hp and of H, for the
            next probe to start from; top_vector is None where H has no run of its own.
    """

    top: Tensor
    bottom: Tensor
    top_residual: Tensor
    bottom_residual: Tensor
    trace: Tensor
    trace_error: Tensor
    sharpness: Tensor
    sharpness_residual: Tensor
    gradient_curvature: Tensor
    moment_share: Tensor
    converged: Tensor
    sharpness_vector: Tensor
    top_vector: Tensor | None


@torch.no_grad()
def probe(
    gradient: Gradient, product: HessianProduct, point: ProbePoint, plan: ProbePlan
) -> Curvature:
    """The curvature of every row.

    Args:
        gradient: of every row.
        product: Hessian of every row times a vector, of the same loss.
    """
    denominator = point.denominator
    scale = None if denominator is None else denominator.rsqrt()
    directions = Directions(point.seeds, point.theta)

    def plain(vector: Tensor) -> Tensor:
        return product(point.theta, vector, *point.batch)

    def preconditioned(vector: Tensor) -> Tensor:
        return plain(vector) if scale is None else scale * plain(scale * vector)

    found = lanczos(preconditioned, directions.start(point.sharpness_start), plan.iterations)
    ends = top_vector = None
    if scale is None:
        ends = found
    elif plan.raw:
        ends = lanczos(plain, directions.start(point.top_start), plan.iterations)
        top_vector = ends.vector
    trace, trace_error = _trace(plain, directions, plan.trace_samples)
    unit = gradient(point.theta, *point.batch)[0] * (1 if scale is None else scale)
    unit = unit / lengths(unit)
    lr = point.lr.cpu().double()
    sharpness, residual = lr * found.top, lr * found.top_residual
    top, bottom, top_residual, bottom_residual = _ends(ends, lr)
    return Curvature(
        top=top,
        bottom=bottom,
        top_residual=top_residual,
        bottom_residual=bottom_residual,
        trace=trace,
        trace_error=trace_error,
        sharpness=sharpness,
        sharpness_residual=residual,
        gradient_curvature=lr * _on_host(dot(unit, preconditioned(unit))),
        moment_share=_moment_share(found.vector, point.root, denominator),
        converged=residual <= plan.tolerance * sharpness.abs(),
        sharpness_vector=found.vector,
        top_vector=top_vector,
    )


def _ends(spectrum: Spectrum | None, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, bottom and their residuals."""
    if spectrum is None:
        nothing = torch.full_like(like, torch.nan)
        return nothing, nothing, nothing, nothing
    return spectrum.top, spectrum.bottom, spectrum.top_residual, spectrum.bottom_residual


def _trace(plain: HessianProduct, directions: Directions, samples: int) -> tuple[Tensor, Tensor]:
    """Mean of z^T H z over random signs z, and its standard error; `[R]` each."""
    found = []
    for _ in range(samples):
        signs = directions.signs()
        found.append(_on_host(dot(signs, plain(signs))))
    if not found:
        nothing = torch.full((directions.rows,), torch.nan, dtype=torch.float64)
        return nothing, nothing
    values = torch.stack(found)
    return values.mean(0), values.std(0) / samples**0.5


def _moment_share(vector: Tensor, root: Tensor | None, denominator: Tensor | None) -> Tensor:
    if root is None or denominator is None:
        return torch.full((vector.shape[0],), torch.nan, dtype=torch.float64)
    return _on_host(dot(vector * vector, root / denominator))


def _on_host(column: Tensor) -> Tensor:
    """`[R, 1]` as `[R]`, float64 on the host."""
    return column[:, 0].cpu().double()
