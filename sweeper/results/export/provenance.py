"""Where an exported setting comes from and what speaks for it, in lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of the evidence, with the words for it.
_EVIDENCE = {
    "failure_fraction": "share of runs that failed",
    "robust_loss": "robust loss",
    "tail_loss": "tail loss",
    "draw_up": "draw-up",
    "stress_runs": "runs of the stress test",
    "stress_failure_fraction": "share of runs of the stress test that failed",
    "stress_tail_loss": "tail loss of the stress test",
    "neighbourhood_width": "share of neighbours that held",
}


def facts(found: Mapping[str, Any]) -> dict[str, str]:
    """Provenance of a recommendation (sweeper.results.sweep) by heading."""
    proven, evidence = found["proven"], found["evidence"]
    said = {
        "sweeper": found["versions"].get("sweeper", "unknown"),
        "sweep": found["sweep"],
        "trial": f"{evidence['trial']}, {_standing(found)}",
        "MLflow": _mlflow(found.get("mlflow") or {}),
        "task": _task(proven),
        "batch size": _batch_size(found["config"]),
        "loss reduction": "that of the task's loss: eps and clipping limits hold for it alone",
        "tested for" if found.get("reason") else "proven for": _horizon(proven),
        "seeds": ", ".join(str(seed) for seed in [*proven["seeds"], *proven["stress_seeds"]]),
        "dtype": proven["dtype"],
        "evidence": ", ".join(
            f"{words} {evidence[name]:.6g}"
            for name, words in _EVIDENCE.items()
            if isinstance(evidence.get(name), int | float)
        ),
    }
    return {name: text for name, text in said.items() if text}


def comment(found: Mapping[str, Any], *more: str) -> list[str]:
    """The lines at the top of an exported text."""
    lines = ["Exported by sweeper (hyperparameter sweeps that judge long-horizon stability).", ""]
    lines += [f"{name}: {text}" for name, text in facts(found).items()]
    return [*lines, "", *more] if more else lines


def _standing(found: Mapping[str, Any]) -> str:
    if found.get("recommended", True):
        return f"recommended of {found['trials']}"
    return f"chosen by hand of {found['trials']}, {found.get('reason') or 'not recommended'}"


def _mlflow(found: Mapping[str, Any]) -> str:
    if not found:
        return ""
    run = f"run {found['run']}, " if found.get("run") else ""
    return f"{run}experiment {found['experiment']}, {found['filter']}"


def _task(proven: Mapping[str, Any]) -> str:
    args = ", ".join(f"{key}={value!r}" for key, value in proven["task_args"].items())
    return f"{proven['task']}({args})" if args else str(proven["task"])


def _batch_size(config: Mapping[str, Any]) -> str:
    size = config.get("batch_size")
    own = "the task's own" if size is None else str(size)
    return f"{own}; samples of one update, over all devices and accumulated batches together"


def _horizon(proven: Mapping[str, Any]) -> str:
    how = "in the stress test" if proven["stress_tested"] else "in the search; not stress-tested"
    text = f"{proven['horizon']} optimizer steps, {how}"
    if proven["stress_tested"]:
        text += f" (the search had {proven['searched_horizon']})"
    return text
