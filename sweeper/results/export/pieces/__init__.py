"""What exported texts are made of: code that stands by itself, without sweeper.

Each function and class is copied into a text as it stands here, with the imports of its module.
Only tests import these modules: keras, jax and optax are no dependencies of sweeper.
"""
