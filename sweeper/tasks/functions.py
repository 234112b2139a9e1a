"""What a forward computes in place of some functions of torch, alone and packed alike.

Random layers draw from the counter-based generator of randomness.py, so that a run depends neither
on its neighbours nor on what ran before. Attention is written out: the fused kernels of the CPU
have no second derivative and no rule for a batch of models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sweeper.tasks import randomness


class Functions(TorchFunctionMode):
    """Within it, one forward of one run at one step. Use a fresh one for every step.

    Args:
        key: of the step, int64, a scalar on the device; see randomness.keys.
    """

    def __init__(self, key: Tensor) -> None:
        super().__init__()
        self.calls = 0
        self._key = key

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = _REPLACED.get(func)
        # A generator of the user's own is refused where random calls are looked for.
        if name is None or (kwargs or {}).get("generator") is not None:
            return func(*args, **(kwargs or {}))
        return getattr(self, name)(*args, **(kwargs or {}))

    # Random layers

    def dropout(
        self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        return self._dropout(x, p, x.shape, training, inplace)

    def feature_dropout(
        self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        """Whole channels at once."""
        return self._dropout(x, p, (*x.shape[:2], *(1 for _ in x.shape[2:])), training, inplace)

    def dropout1d(
        self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        batched = x if x.ndim == 3 else x[None]
        found = self.feature_dropout(batched, p, training, inplace)
        return found if x.ndim == 3 else found[0]

    def alpha_dropout(
        self, x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
    ) -> Tensor:
        """Klambauer et al. 2017 (1706.02515), equations 5 to 8: mean 0 and variance 1 are kept."""
        if not training or p == 0:
            return x
        saturated = -1.0507009873554805 * 1.6732632423543772
        scale = (1 - p) ** -0.5 * (1 + p * saturated**2) ** -0.5
        kept = self._uniform(x.shape, x.dtype) >= p
        found = scale * (torch.where(kept, x, saturated) - p * saturated)
        return x.copy_(found) if inplace else found

    def _dropout(
        self, x: Tensor, p: float, size: tuple[int, ...], training: bool, inplace: bool
    ) -> Tensor:
        if not training or p == 0:
            return x
        kept = self._uniform(size, x.dtype) >= p
        found = torch.where(kept, x / (1 - p) if p < 1 else x, 0.0)
        return x.copy_(found) if inplace else found

    # Random tensors

    def rand(self, *given: Any, dtype: torch.dtype | None = None, **rest: Any) -> Tensor:
        return self._uniform(_size(given, rest), dtype or torch.get_default_dtype())

    def randn(self, *given: Any, dtype: torch.dtype | None = None, **rest: Any) -> Tensor:
        return self._normal(_size(given, rest), dtype or torch.get_default_dtype())

    def rand_like(self, x: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
        return self._uniform(x.shape, dtype or x.dtype)

    def randn_like(self, x: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
        return self._normal(x.shape, dtype or x.dtype)

    def bernoulli(self, x: Tensor, p: float | None = None, **_: Any) -> Tensor:
        share = x if p is None else p
        return (self._uniform(x.shape, torch.float32) < share).to(x.dtype)

    def bernoulli_(self, x: Tensor, p: float | Tensor = 0.5, **_: Any) -> Tensor:
        return x.copy_(self._uniform(x.shape, torch.float32) < p)

    def uniform_(self, x: Tensor, low: float = 0.0, high: float = 1.0, **_: Any) -> Tensor:
        return x.copy_(low + (high - low) * self._uniform(x.shape, x.dtype))

    def normal_(self, x: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> Tensor:
        return x.copy_(mean + std * self._normal(x.shape, x.dtype))

    def _uniform(self, size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        self.calls += 1
        return randomness.uniform(self._key, self.calls, size, dtype)

    def _normal(self, size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        self.calls += 2
        return randomness.normal(self._key, self.calls - 1, size, dtype)

    # Attention

    def attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """torch.nn.functional.scaled_dot_product_attention, as its documentation defines it."""
        if enable_gqa:
            key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
            value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
        scores = query @ key.transpose(-2, -1) * (scale or 1 / math.sqrt(query.size(-1)))
        if is_causal:
            size = query.size(-2), key.size(-2)
            visible = torch.ones(size, dtype=torch.bool, device=query.device).tril()
            scores = scores.masked_fill(~visible, -math.inf)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -math.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        return self.dropout(scores.softmax(-1), dropout_p) @ value

    def multi_head_attention(self, *args: Any, **kwargs: Any) -> Any:
        """The function of torch with the functions above in place of those that it calls."""
        plain = F.multi_head_attention_forward
        own = {
            "dropout": self.dropout,
            "scaled_dot_product_attention": self.attention,
            # Else a mode below this one would call torch's own again.
            "has_torch_function": lambda tensors: False,
        }
        rebound = FunctionType(plain.__code__, {**plain.__globals__, **own}, plain.__name__)
        rebound.__defaults__, rebound.__kwdefaults__ = plain.__defaults__, plain.__kwdefaults__
        return rebound(*args, **kwargs)


    # Normalisation

    def batch_norm(self, x: Tensor, mean: Tensor | None, *args: Any, **kwargs: Any) -> Tensor:
        """In the dtype of its statistics: under torch.autocast a packed one takes no other."""
        kept = x if mean is None else x.to(mean.dtype)
        return F.batch_norm(kept, mean, *args, **kwargs).to(x.dtype)


    def weight_norm(self, direction: Tensor, length: Tensor, dim: int = 0) -> Tensor:
        """By its formula (Salimans and Kingma 2016, 1602.07868): the kernel isn't batched."""
        return direction * (length / torch.norm_except_dim(direction, 2, dim))


def _size(given: tuple[Any, ...], rest: Mapping[str, Any]) -> tuple[int, ...]:
    """Of `rand(2, 3)`, `rand((2, 3))` and `rand(size=(2, 3))`."""
    if "size" in rest:
        return tuple(rest["size"])
    return tuple(given[0]) if len(given) == 1 and not isinstance(given[0], int) else given


# By the method above that stands in its place.
_REPLACED: dict[Any, str] = {
    F.dropout: "dropout",
    torch.dropout: "dropout",
    F.dropout1d: "dropout1d",
    F.dropout2d: "feature_dropout",
    F.dropout3d: "feature_dropout",
    F.alpha_dropout: "alpha_dropout",
    torch.rand: "rand",
    torch.randn: "randn",
    torch.rand_like: "rand_like",
    torch.randn_like: "randn_like",
    torch.bernoulli: "bernoulli",
    Tensor.bernoulli: "bernoulli",
    Tensor.bernoulli_: "bernoulli_",
    Tensor.uniform_: "uniform_",
    Tensor.normal_: "normal_",
    F.batch_norm: "batch_norm",
    torch._weight_norm: "weight_norm",
    F.scaled_dot_product_attention: "attention",
    F.multi_head_attention_forward: "multi_head_attention",
}
