"""The update rules of sweeper.optim.rules that torch.optim doesn't have."""

from __future__ import annotations

from typing import Any

import torch

from sweeper.results.export.pieces.torch_base import Stepper


class AdamEpsHat(Stepper):
    """Adam whose eps is added before bias correction, as in TensorFlow and Keras.

    `decoupled`: weight decay is AdamW's; else it is L2.
    """

    def move(
        self, parameter: torch.Tensor, grad: torch.Tensor, state: Any, group: dict[str, Any]
    ) -> None:
        beta1, beta2 = group["betas"]
        decay, t = group["weight_decay"], state["step"]
        if group["decoupled"]:
            parameter.mul_(1 - group["lr"] * decay)
        else:
            grad = grad + decay * parameter
        first = self.kept(parameter, "exp_avg").lerp_(grad, 1 - beta1)
        second = (
            self.kept(parameter, "exp_avg_sq").mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        )
        if group["amsgrad"]:
            second = torch.maximum(self.kept(parameter, "max_exp_avg_sq"), second)
            state["max_exp_avg_sq"] = second
        step_size = group["lr"] * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
        parameter.addcdiv_(first, second.sqrt().add_(group["eps"]), value=-step_size)


class SGDW(Stepper):
    """SGD with decoupled weight decay, lr outside the momentum (Loshchilov & Hutter 2017)."""

    def move(
        self, parameter: torch.Tensor, grad: torch.Tensor, state: Any, group: dict[str, Any]
    ) -> None:
        momentum, lr = group["momentum"], group["lr"]
        undamped = 1.0 if state["step"] == 1 else 1 - group["dampening"]
        buffer = self.kept(parameter, "momentum_buffer").mul_(momentum).add_(grad, alpha=undamped)
        parameter.mul_(1 - lr * group["weight_decay"])
        if group["nesterov"]:
            buffer = grad + momentum * buffer
        parameter.sub_(buffer if momentum > 0 else grad, alpha=lr)


class Lion(Stepper):
    """Lion (Chen et al. 2023, Algorithm 2), weight decay decoupled."""

    def move(
        self, parameter: torch.Tensor, grad: torch.Tensor, state: Any, group: dict[str, Any]
    ) -> None:
        beta1, beta2 = group["betas"]
        momentum = self.kept(parameter, "exp_avg")
        direction = torch.lerp(momentum, grad, 1 - beta1).sign_()
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(direction, alpha=group["lr"])
        momentum.lerp_(grad, 1 - beta2)


class StableAdamW(Stepper):
    """AdamW whose lr is divided by max(1, RMS) per tensor (Wortsman et al. 2023, Algorithm 2)."""

    def move(
        self, parameter: torch.Tensor, grad: torch.Tensor, state: Any, group: dict[str, Any]
    ) -> None:
        beta1, beta2 = group["betas"]
        eps, t = group["eps"], state["step"]
        first = self.kept(parameter, "exp_avg").lerp_(grad, (1 - beta1) / (1 - beta1**t))
        left = (1 - beta2) / (1 - beta2**t)
        second = self.kept(parameter, "exp_avg_sq")
        second.mul_(1 - left).addcmul_(grad, grad, value=left)
        smallest = max(eps * eps, torch.finfo(grad.dtype).tiny)
        rms = (grad * grad / second.clamp(min=smallest)).mean().sqrt()
        lr = group["lr"] / rms.clamp(min=1)
        change = first / (second.sqrt() + eps) + group["weight_decay"] * parameter
        parameter.sub_(lr * change)


class Adai(Stepper):
    """Adai (Xie et al. 2022): the inertia adapts, by the mean second moment of the whole model.

    `decoupled`: weight decay is Algorithm 3's; else it is L2.
    """

    def begin_step(self) -> None:
        total, count = torch.zeros(()), 0
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    unbiased = self.second(parameter, group)
                    total, count = total + unbiased.sum(), count + unbiased.numel()
        self.mean = total / max(count, 1)

    def second(self, parameter: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        """Move the second moment; bias-corrected."""
        grad, beta2 = self.gradient(parameter, group), group["beta2"]
        second = self.kept(parameter, "exp_avg_sq")
        second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        t = self.state[parameter].get("step", 0) + 1
        unbiased: torch.Tensor = second / (1 - beta2**t)
        return unbiased

    def gradient(self, parameter: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        grad = parameter.grad
        assert grad is not None
        return grad if group["decoupled"] else grad + group["weight_decay"] * parameter

    def move(
        self, parameter: torch.Tensor, grad: torch.Tensor, state: Any, group: dict[str, Any]
    ) -> None:
        grad = self.gradient(parameter, group)
        unbiased = state["exp_avg_sq"] / (1 - group["beta2"] ** state["step"])
        share = torch.where(self.mean > 0, unbiased / self.mean, torch.zeros_like(unbiased))
        left = (group["beta0"] * share).clamp(min=group["eps"], max=1.0)
        first = self.kept(parameter, "exp_avg")
        first.add_(left * (grad - first))
        correction = self.kept(parameter, "beta1_correction")
        correction.add_(left * (1 - correction))
        if group["decoupled"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(group["lr"] * first / correction)
