"""Which variables of a Keras model have no weight decay."""

from __future__ import annotations

from typing import Any

import keras


def free_variables(model: keras.Model, no_decay: list[str]) -> list[Any]:
    """bias: variables of that name (beta in norm layers); norm: of normalisation layers."""
    norms = (
        keras.layers.BatchNormalization,
        keras.layers.GroupNormalization,
        keras.layers.LayerNormalization,
        keras.layers.RMSNormalization,
    )
    found = []
    for layer in model._flatten_layers():
        is_norm = isinstance(layer, norms) and "norm" in no_decay
        for variable in layer._trainable_variables:
            is_bias = variable.name in ("bias", "beta") and "bias" in no_decay
            if is_norm or is_bias:
                found.append(variable)
    return found
