"""The update rules by name."""

from __future__ import annotations

from sweeper.optim.rules import (
    adagrad,
    adai,
    adam,
    lion,
    nadam,
    radam,
    rmsprop,
    sgd,
    stable_adamw,
)
from sweeper.optim.rules.rule import Rule

_ALL = (adagrad, adai, adam, lion, nadam, radam, rmsprop, sgd, stable_adamw)
RULES: dict[str, Rule] = {module.RULE.name: module.RULE for module in _ALL}
