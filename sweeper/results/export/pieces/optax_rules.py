"""The update rules of sweeper.optim.rules that optax doesn't have in this form.

Each gives the step that lr is multiplied with.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax


def scale_by_adam_variant(
    beta1: float, beta2: float, eps: float, eps_hat: bool, amsgrad: bool
) -> optax.GradientTransformation:
    """Adam: AMSGrad takes the maximum before bias correction; eps_hat is added before it."""

    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return jnp.zeros([], jnp.int32), zeros, zeros, zeros

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        count, first, second, largest = state
        count = count + 1
        first = jax.tree.map(lambda m, g: m + (1 - beta1) * (g - m), first, grads)
        second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, second, grads)
        largest = jax.tree.map(jnp.maximum, largest, second) if amsgrad else second
        unbiased = 1 / jnp.sqrt(1 - beta2**count)
        added = eps * unbiased if eps_hat else eps
        change = jax.tree.map(
            lambda m, v: m / (1 - beta1**count) / (jnp.sqrt(v) * unbiased + added), first, largest
        )
        return change, (count, first, second, largest)

    return optax.GradientTransformation(init, update)


def scale_by_torch_nadam(
    beta1: float, beta2: float, eps: float, momentum_decay: float
) -> optax.GradientTransformation:
    """NAdam as torch.optim has it: its momentum rises to beta1."""

    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return jnp.zeros([], jnp.int32), jnp.zeros([]), zeros, zeros

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        count, corrected, first, second = state
        count = count + 1
        mu = beta1 * (1 - 0.5 * 0.96 ** (count * momentum_decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((count + 1) * momentum_decay))
        corrected = corrected * mu + (1 - mu)
        of_grad = (1 - mu) / corrected
        of_first = mu_next / (corrected * mu_next + (1 - mu_next))
        first = jax.tree.map(lambda m, g: m + (1 - beta1) * (g - m), first, grads)
        second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, second, grads)
        change = jax.tree.map(
            lambda g, m, v: (
                (of_grad * g + of_first * m) / (jnp.sqrt(v / (1 - beta2**count)) + eps)
            ),
            grads,
            first,
            second,
        )
        return change, (count, corrected, first, second)

    return optax.GradientTransformation(init, update)


def scale_by_torch_radam(beta1: float, beta2: float, eps: float) -> optax.GradientTransformation:
    """RAdam as torch.optim has it: eps is added before bias correction."""

    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return jnp.zeros([], jnp.int32), zeros, zeros

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        count, first, second = state
        count = count + 1
        longest, left = 2 / (1 - beta2) - 1, 1 - beta2**count
        length = longest - 2 * count * beta2**count / left
        is_rectified = length > 5
        above = jnp.where(is_rectified, length, 6.0)
        of_longest = longest / ((longest - 4) * (longest - 2)) if longest > 5 else 1.0
        r = jnp.sqrt((above - 4) * (above - 2) * of_longest / above)
        first = jax.tree.map(lambda m, g: m + (1 - beta1) * (g - m), first, grads)
        second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, second, grads)
        change = jax.tree.map(
            lambda m, v: (
                m
                / (1 - beta1**count)
                * jnp.where(is_rectified, r * jnp.sqrt(left) / (jnp.sqrt(v) + eps), 1.0)
            ),
            first,
            second,
        )
        return change, (count, first, second)

    return optax.GradientTransformation(init, update)


def scale_by_torch_adagrad(
    lr_decay: float, eps: float, initial_accumulator_value: float
) -> optax.GradientTransformation:
    """Adagrad with eps outside the root, lr / (1 + steps made * lr_decay)."""

    def init(params: Any) -> Any:
        total = jax.tree.map(lambda p: jnp.full_like(p, initial_accumulator_value), params)
        return jnp.zeros([], jnp.int32), total

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        made, total = state
        total = jax.tree.map(lambda s, g: s + g * g, total, grads)
        change = jax.tree.map(
            lambda g, s: g / (jnp.sqrt(s) + eps) / (1 + made * lr_decay), grads, total
        )
        return change, (made + 1, total)

    return optax.GradientTransformation(init, update)


def damped_trace(momentum: float, dampening: float) -> optax.GradientTransformation:
    """Momentum to which all gradients but the first are added damped, as torch.optim.SGD."""

    def init(params: Any) -> Any:
        return jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, params)

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        made, buffer = state
        undamped = jnp.where(made == 0, 1.0, 1 - dampening)
        buffer = jax.tree.map(lambda b, g: momentum * b + undamped * g, buffer, grads)
        return buffer, (made + 1, buffer)

    return optax.GradientTransformation(init, update)


def scale_by_stable_adamw(
    beta1: float, beta2: float, eps: float, weight_decay: float, mask: Any
) -> optax.GradientTransformation:
    """StableAdamW (Wortsman et al. 2023, Algorithm 2), its weight decay included.

    `mask(params)` says which parameters have weight decay.
    """

    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return jnp.zeros([], jnp.int32), zeros, zeros

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        count, first, second = state
        count = count + 1
        left1 = (1 - beta1) / (1 - beta1**count)
        left2 = (1 - beta2) / (1 - beta2**count)
        first = jax.tree.map(lambda m, g: m + left1 * (g - m), first, grads)
        second = jax.tree.map(lambda v, g: (1 - left2) * v + left2 * g * g, second, grads)

        def move(g: Any, m: Any, v: Any, p: Any, is_decayed: bool) -> Any:
            smallest = max(eps * eps, float(jnp.finfo(g.dtype).tiny))
            rms = jnp.sqrt(jnp.mean(g * g / jnp.maximum(v, smallest)))
            decay = weight_decay * p if is_decayed else 0.0
            return (m / (jnp.sqrt(v) + eps) + decay) / jnp.maximum(rms, 1.0)

        change = jax.tree.map(move, grads, first, second, params, mask(params))
        return change, (count, first, second)

    return optax.GradientTransformation(init, update)


def scale_by_adai(beta0: float, beta2: float, eps: float) -> optax.GradientTransformation:
    """Adai (Xie et al. 2022): the inertia adapts, by the mean second moment of all parameters."""

    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return jnp.zeros([], jnp.int32), zeros, zeros, zeros

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        count, first, second, correction = state
        count = count + 1
        second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, second, grads)
        leaves = jax.tree.leaves(second)
        mean = sum(jnp.sum(v) for v in leaves) / sum(v.size for v in leaves)
        above = jnp.where(mean > 0, mean, 1.0)  # bias correction cancels in the ratio
        left = jax.tree.map(
            lambda v: jnp.clip(beta0 * jnp.where(mean > 0, v / above, 0.0), eps, 1.0), second
        )
        first = jax.tree.map(lambda m, g, x: m + x * (g - m), first, grads, left)
        correction = jax.tree.map(lambda c, x: c + x * (1 - c), correction, left)
        change = jax.tree.map(lambda m, c: m / c, first, correction)
        return change, (count, first, second, correction)

    return optax.GradientTransformation(init, update)
