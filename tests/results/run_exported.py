"""Runs exported Keras and optax scripts in a process of their own: python run_exported.py TARGET.

Reads {case: script} as JSON from standard input, writes {case: parameters} to standard output;
parameters in the order of export_cases.NAMES, in torch's layout.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import export_cases as ec
import numpy as np

# By torch's names: where the parameter is in a flax tree.
_FLAX = {
    "dense.weight": ("Dense_0", "kernel"),
    "dense.bias": ("Dense_0", "bias"),
    "norm.weight": ("LayerNorm_0", "scale"),
    "norm.bias": ("LayerNorm_0", "bias"),
}


def parts() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Start, stiffness and frequency of every parameter; matrices in the layout of Keras."""
    found = []
    for place, (name, shape) in enumerate(ec.NAMES.items()):
        own = ec.starts()[name], ec.stiffness(place, shape), ec.pushes(place, shape)
        found.append(tuple(one.T for one in own))
    return found  # type: ignore[return-value]


def vector(values: list[Any]) -> list[float]:
    """Parameters as one list, in torch's layout."""
    return np.concatenate([np.asarray(value).T.ravel() for value in values]).tolist()


def optax_run(script: str) -> list[float]:
    """Parameters after all steps, compiled as one loop."""
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)
    optimizer = ec.run_text(script)["make_optimizer"]()
    params: dict[str, dict[str, Any]] = {"Dense_0": {}, "LayerNorm_0": {}}
    given = dict(zip(_FLAX, parts(), strict=True))
    for name, (layer, leaf) in _FLAX.items():
        params[layer][leaf] = jnp.asarray(given[name][0])

    def loss(params: Any, step: Any) -> Any:
        total = 0.0
        for name, (layer, leaf) in _FLAX.items():
            value, (_, stiff, push) = params[layer][leaf], given[name]
            wave = jnp.sin(step * jnp.asarray(push))
            total += (jnp.asarray(stiff) * value**2 / 2 + wave * value).sum()
        return total

    def advance(carry: Any, step: Any) -> Any:
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, step), state, params)
        return (optax.apply_updates(params, updates), state), None

    steps = jnp.arange(ec.STEPS, dtype=jnp.float64)
    carry, _ = jax.lax.scan(advance, (params, optimizer.init(params)), steps)
    return vector([carry[0][layer][leaf] for layer, leaf in _FLAX.values()])


def keras_run(script: str) -> list[float]:
    """Parameters after all steps."""
    import keras

    keras.config.set_floatx("float64")
    names = ec.run_text(script)
    model = keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(3), keras.layers.LayerNormalization()]
    )
    given = parts()
    model.set_weights([start for start, _, _ in given])
    optimizer = names["make_optimizer"](model)
    variables = model.trainable_variables
    optimizer.build(variables)

    def gradients(values: list[Any], step: Any) -> list[Any]:
        waves = [keras.ops.sin(step * keras.ops.convert_to_tensor(push)) for _, _, push in given]
        return [
            keras.ops.convert_to_tensor(stiff) * value + wave
            for (_, stiff, _), value, wave in zip(given, values, waves, strict=True)
        ]

    if keras.config.backend() == "jax":
        return vector(_compiled(optimizer, variables, gradients))
    for step in range(ec.STEPS):
        optimizer.apply(gradients([v.value for v in variables], step), variables)
    return vector([keras.ops.convert_to_numpy(v) for v in variables])


def _compiled(optimizer: Any, variables: list[Any], gradients: Any) -> list[Any]:
    """As Keras trains on JAX: without state, compiled."""
    import jax

    def advance(carry: Any, step: Any) -> Any:
        values, state = carry
        values, state = optimizer.stateless_apply(state, gradients(values, step), values)
        return (list(values), list(state)), None

    carry = [v.value for v in variables], [v.value for v in optimizer.variables]
    steps = jax.numpy.arange(ec.STEPS, dtype="float64")
    return list(jax.lax.scan(advance, carry, steps)[0][0])


if __name__ == "__main__":
    run = {"optax": optax_run, "keras": keras_run}[sys.argv[1]]
    if sys.argv[1] == "keras":  # before Keras is used: JAX has float64 then
        import jax

        jax.config.update("jax_enable_x64", True)
    found = {case: run(script) for case, script in json.load(sys.stdin).items()}
    print(json.dumps(found))
