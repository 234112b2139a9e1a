"""Which parameters of a pytree have weight decay, by their names."""

from __future__ import annotations

from typing import Any

import jax


def decay_mask(params: Any, no_decay: tuple[str, ...]) -> Any:
    """bias: leaves of that name; norm: leaves below a layer named so, as flax's LayerNorm_0."""

    def is_decayed(path: Any, leaf: Any) -> bool:
        *layers, name = jax.tree_util.keystr(path, simple=True, separator=".").split(".")
        is_bias = "bias" in no_decay and name == "bias"
        is_norm = "norm" in no_decay and any("norm" in layer.lower() for layer in layers)
        return not (is_bias or is_norm)

    return jax.tree_util.tree_map_with_path(is_decayed, params)
