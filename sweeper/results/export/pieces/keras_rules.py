"""The update rules of sweeper.optim.rules that Keras doesn't have in this form."""

from __future__ import annotations

from typing import Any

from keras import ops

from sweeper.results.export.pieces.keras_base import Rule


class TorchAdam(Rule):
    """Adam with eps added after bias correction, unless eps_hat."""

    states = ("momentum", "velocity", "largest")

    def move(
        self, variable: Any, g: Any, state: list[Any], t: Any, lr: Any, **settings: Any
    ) -> None:
        first, second, largest = state
        beta1, beta2, eps = settings["beta1"], settings["beta2"], settings["eps"]
        self.assign(first, first + (1 - beta1) * (g - first))
        self.assign(second, beta2 * second + (1 - beta2) * g * g)
        self.assign(largest, ops.maximum(largest, second) if settings["amsgrad"] else second)
        unbiased = 1 / ops.sqrt(1 - beta2**t)
        added = eps * unbiased if settings["eps_hat"] else eps
        step_size = lr / (1 - beta1**t)
        self.assign_sub(variable, step_size * first / (ops.sqrt(largest) * unbiased + added))


class TorchNAdam(Rule):
    """NAdam as torch.optim has it: its momentum rises to beta1."""

    states = ("momentum", "velocity", "corrected")

    def move(
        self, variable: Any, g: Any, state: list[Any], t: Any, lr: Any, **settings: Any
    ) -> None:
        first, second, corrected = state
        beta1, beta2, decay = settings["beta1"], settings["beta2"], settings["momentum_decay"]
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * decay))
        self.assign(first, first + (1 - beta1) * (g - first))
        self.assign(second, beta2 * second + (1 - beta2) * g * g)
        self.assign(corrected, corrected * mu + (1 - mu))
        of_grad = (1 - mu) / corrected
        of_first = mu_next / (corrected * mu_next + (1 - mu_next))
        root = ops.sqrt(second / (1 - beta2**t))
        self.assign_sub(variable, lr * (of_grad * g + of_first * first) / (root + settings["eps"]))


class TorchRAdam(Rule):
    """RAdam as torch.optim has it: eps is added before bias correction."""

    states = ("momentum", "velocity")

    def move(
        self, variable: Any, g: Any, state: list[Any], t: Any, lr: Any, **settings: Any
    ) -> None:
        first, second = state
        beta1, beta2 = settings["beta1"], settings["beta2"]
        self.assign(first, first + (1 - beta1) * (g - first))
        self.assign(second, beta2 * second + (1 - beta2) * g * g)
        longest, left = 2 / (1 - beta2) - 1, 1 - beta2**t
        length = longest - 2 * t * beta2**t / left
        above = ops.where(length > 5, length, ops.zeros_like(length) + 6.0)
        of_longest = longest / ((longest - 4) * (longest - 2)) if longest > 5 else 1.0
        r = ops.sqrt((above - 4) * (above - 2) * of_longest / above)
        scaled = r * ops.sqrt(left) / (ops.sqrt(second) + settings["eps"])
        share = ops.where(length > 5, scaled, ops.ones_like(scaled))
        self.assign_sub(variable, lr / (1 - beta1**t) * first * share)


class TorchSGD(Rule):
    """SGD whose momentum is free of lr, as torch.optim.SGD."""

    states = ("momentum",)

    def move(
        self, variable: Any, g: Any, state: list[Any], t: Any, lr: Any, **settings: Any
    ) -> None:
        (buffer,) = state
        momentum = settings["momentum"]
        undamped = ops.where(t == 1, 1.0, 1 - settings["dampening"])
        self.assign(buffer, momentum * buffer + ops.cast(undamped, variable.dtype) * g)
        direction = g + momentum * buffer if settings["nesterov"] else buffer
        self.assign_sub(variable, lr * (direction if momentum > 0 else g))


class TorchRMSprop(Rule):
    """RMSprop with eps outside the root and lr outside the momentum, as torch.optim.RMSprop."""

    states = ("velocity", "momentum", "mean")

    def move(
        self, variable: Any, g: Any, state: list[Any], t: Any, lr: Any, **settings: Any
    ) -> None:
        second, buffer, mean = state
        alpha = settings["alpha"]
        self.assign(second, alpha * second + (1 - alpha) * g * g)
        variance = second + 0.0
        if settings["centered"]:
            self.assign(mean, mean + (1 - alpha) * (g - mean))
            variance = ops.maximum(second - mean * mean, 0.0)
        scaled = g / (ops.sqrt(variance) + settings["eps"])
        self.assign(buffer, settings["momentum"] * buffer + scaled)
        self.assign_sub(variable, lr * buffer)


class TorchAdagrad(Rule):
    """Adagrad with eps outside the root, lr / (1 + steps made * lr_decay)."""

    states = ("accumulator",)

    def move(
        self, variable: Any, g: Any, state: list[Any], t: Any, lr: Any, **settings: Any
    ) -> None:
        (total,) = state
        self.assign(total, total + g * g)
        root = ops.sqrt(total + settings["initial_accumulator_value"])
        rate = lr / (1 + (t - 1) * settings["lr_decay"])
        self.assign_sub(variable, rate * g / (root + settings["eps"]))


class StableAdamW(Rule):
    """StableAdamW (Wortsman et al. 2023, Algorithm 2), its weight decay included."""

    states = ("momentum", "velocity")

    def move(
        self, variable: Any, g: Any, state: list[Any], t: Any, lr: Any, **settings: Any
    ) -> None:
        first, second = state
        beta1, beta2, eps = settings["beta1"], settings["beta2"], settings["eps"]
        left1 = (1 - beta1) / (1 - beta1**t)
        left2 = (1 - beta2) / (1 - beta2**t)
        self.assign(first, first + left1 * (g - first))
        self.assign(second, (1 - left2) * second + left2 * g * g)
        rms = ops.sqrt(ops.mean(g * g / ops.maximum(second, max(eps * eps, 1e-38))))
        decay = settings["weight_decay"] if self._use_weight_decay(variable) else 0.0
        change = first / (ops.sqrt(second) + eps) + decay * variable
        self.assign_sub(variable, lr / ops.maximum(rms, 1.0) * change)
