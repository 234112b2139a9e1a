"""The formats of an export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sweeper.errors import SweepError, nearest, one_of
from sweeper.results.export import (
    as_deepspeed,
    as_json,
    as_keras,
    as_lightning,
    as_optax,
    as_torch,
    as_transformers,
    as_yaml,
)
from sweeper.results.export.setting import Setting, setting_of

FORMATS: dict[str, Callable[[Setting], str]] = {
    "json": as_json.render,
    "yaml": as_yaml.render,
    "torch": as_torch.render,
    "lightning": as_lightning.render,
    "transformers": as_transformers.render,
    "keras": as_keras.render,
    "optax": as_optax.render,
    "deepspeed": as_deepspeed.render,
}


def check_format(name: str) -> None:
    """Refuse a format that there isn't."""
    if name not in FORMATS:
        raise SweepError(
            f"unknown format {name!r}",
            where="--format",
            allowed=one_of(FORMATS),
            cure=nearest(name, FORMATS),
        )


def render(found: Mapping[str, Any], format: str) -> str:
    """A recommendation as text, with a line break at its end.

    Args:
        found: as `SweepHandle.recommendation` gives it.
        format: one of FORMATS.

    Raises:
        SweepError: an unknown format, or a setting that it can't express.
    """
    check_format(format)
    return FORMATS[format](setting_of(found)).rstrip("\n") + "\n"
