"""Which parameters have weight decay, by a `no_decay` list."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from sweeper.errors import SweepError, nearest, one_of

# By these words whatever the model calls them; anything else is a pattern of names.
_WORDS = ("bias", "norm")
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)


def has_decay(
    names: Sequence[str],
    no_decay: Sequence[str],
    model: nn.Module | None = None,
    where: str = "no_decay",
) -> list[bool]:
    """Whether each parameter has weight decay.

    Args:
        names: of the parameters.
        no_decay: `bias` (every parameter of that name), `norm` (every parameter of a normalisation
            layer of the model), or patterns of whole names such as `head.*`.

    Raises:
        SweepError: a pattern that no parameter matches.
    """
    for pattern in no_decay:
        if pattern not in _WORDS and not any(fnmatchcase(name, pattern) for name in names):
            raise SweepError(
                f"no parameter matches {pattern!r}",
                where=where,
                allowed=f"{one_of(_WORDS)}, or patterns of {one_of(names)}",
                cure=nearest(pattern, (*_WORDS, *names)),
            )
    of_norms = _in_norms(model) if model is not None and "norm" in no_decay else set()

    def is_free(name: str) -> bool:
        is_bias = "bias" in no_decay and name.rpartition(".")[2] == "bias"
        return is_bias or name in of_norms or any(fnmatchcase(name, one) for one in no_decay)

    return [not is_free(name) for name in names]


def decay_mask(
    model: nn.Module, no_decay: Sequence[str], where: str = "no_decay"
) -> Tensor | None:
    """1 where weight decay applies and 0 elsewhere, `[P]` of the trainable parameters; None where
    it applies everywhere.
    """
    if not no_decay:
        return None
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    decays = has_decay(list(named), no_decay, model, where)
    return torch.cat(
        [
            torch.full((parameter.numel(),), float(is_decayed))
            for parameter, is_decayed in zip(named.values(), decays, strict=True)
        ]
    )


def _in_norms(model: nn.Module) -> set[str]:
    """Names of the parameters of normalisation layers."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, _NORMS)
        for name, _ in module.named_parameters(recurse=False)
    }
