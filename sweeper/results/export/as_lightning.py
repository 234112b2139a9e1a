"""Export as a mixin for a LightningModule."""

from __future__ import annotations

from sweeper.results.export.as_torch import add_torch
from sweeper.results.export.provenance import comment
from sweeper.results.export.setting import Setting
from sweeper.results.export.source import Script

_USE = "class MyModule(RecommendedOptimizer, L.LightningModule): ..., with automatic optimization."
_MIXIN = '''class RecommendedOptimizer:
    """To be named before LightningModule among the bases of a module."""

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer, scheduler = make_optimizer(self)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 1},
        }'''
_CLIPPING = """
    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        self.clip_gradients(
            optimizer, gradient_clip_val={limit!r}, gradient_clip_algorithm={kind!r}
        )"""


def render(setting: Setting) -> str:
    """The script."""
    norm, value = setting.configuration.clip_norm, setting.configuration.clip_value
    clips = norm is not None or value is not None
    said = "the module clips" if clips else "nothing is clipped"
    script = Script(
        comment(
            setting.found,
            _USE,
            "Trainer(max_steps=TOTAL_STEPS, accumulate_grad_batches=1); "
            f"gradient_clip_val stays unset: {said}.",
        )
    )
    # Lightning computes the gradient within optimizer.step(): a hook before it would clip nothing.
    add_torch(script, setting, clip_norm=False, clip_value=False)
    script.imports.append("from typing import Any")
    mixin = _MIXIN
    if clips:
        kind = "norm" if norm is not None else "value"
        mixin += "\n" + _CLIPPING.format(limit=norm if norm is not None else value, kind=kind)
    script.blocks.append(mixin)
    return script.text()
