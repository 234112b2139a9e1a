"""A diagnosis drawn over the steps of the run: loss, sharpness, second moment, updates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeper.results.diagnose.diagnosis import Diagnosis
from sweeper.results.diagnose.evidence import Evidence
from sweeper.results.report import style
from sweeper.results.report.losses import thinned


def write(found: Diagnosis, path: Path) -> None:
    """Draw them into a PNG file; raises SweepError where it can't be written."""
    with style.styled():
        style.save(_figure(found), path)


def _figure(found: Diagnosis) -> Figure:
    evidence = found.evidence
    figure, axes = style.new_figure(2, 2, (9.2, 5.6), sharex=True)
    _loss(axes[0], evidence)
    _sharpness(axes[1], evidence)
    _moments(axes[2], evidence)
    _cosine(axes[3], found)
    for ax in axes:
        ax.set_xscale("log")
        ax.set_xlim(1, evidence.run.horizon)
        if evidence.onset is not None:
            ax.axvline(evidence.onset + 1, color=style.VERMILION, linewidth=1, linestyle="--")
    for ax in axes[2:]:
        ax.set_xlabel("step")
    return figure


def _loss(ax: Axes, evidence: Evidence) -> None:
    steps, losses = thinned(np.arange(evidence.loss.size), evidence.loss)
    ax.plot(steps + 1, losses, color=style.INK, linewidth=1.2)
    if losses.size and losses.min() > 0:
        ax.set_yscale("log")
    name = f"Loss of trial {evidence.trial['trial']}, seed {evidence.run.seed}"
    ax.set_title(name + (", stress test" if evidence.is_stress else ""))
    if evidence.onset is not None:
        ax.text(
            evidence.onset * 0.9, 0.03, "onset", transform=ax.get_xaxis_transform(),
            color=style.VERMILION, ha="right", fontsize=8.5,
        )  # fmt: skip


def _sharpness(ax: Axes, evidence: Evidence) -> None:
    ax.set_title("Sharpness and its threshold")
    probes = evidence.probes
    if not probes:
        _nothing(ax, evidence.result.get("forecast_reason") or "not probed")
        return
    steps = np.array([one["step"] for one in probes])
    ax.plot(steps, [one["sharpness"] for one in probes], "o-", color=style.BLUE, markersize=4)
    known = [(one["step"], one["threshold"]) for one in probes if one["threshold"]]
    if known:
        ax.plot(*zip(*known, strict=True), color=style.VERMILION, linewidth=1.2)
        ax.axhline(known[-1][1], color=style.VERMILION, linewidth=1.2)
    ax.set_yscale("log")


def _moments(ax: Axes, evidence: Evidence) -> None:
    ax.set_title("Gradient by what the second moment remembers")
    if "grad_surprise" not in evidence.series:
        _nothing(ax, "no second moment")
        return
    for name, colour, label in (
        ("grad_surprise", style.BLUE, "RMS of g / sqrt(vhat)"),
        ("eps_dominance", style.ORANGE, "share of coordinates below eps"),
    ):
        if name in evidence.series:
            steps, values = thinned(*evidence.series[name])
            ax.plot(steps + 1, values, color=colour, linewidth=1.2, label=label)
    ax.axhline(2.3, color=style.GREY, linewidth=0.8, linestyle=":")
    ax.set_yscale("symlog", linthresh=1e-6)
    ax.legend(loc="best")


def _cosine(ax: Axes, found: Diagnosis) -> None:
    ax.set_title("Cosine of successive updates")
    if found.end is not None:
        values = found.end.cosine
        steps = np.arange(values.size) * 10.0
    elif "update_cosine" in found.evidence.series:
        steps, values = found.evidence.series["update_cosine"]
    else:
        _nothing(ax, "not recorded")
        return
    known = np.isfinite(values)
    steps, values = thinned(steps[known], values[known])
    ax.plot(steps + 1, values, color=style.GREEN, linewidth=1.0)
    ax.axhline(0, color=style.GREY, linewidth=0.8)
    ax.set_ylim(-1.05, 1.05)


def _nothing(ax: Axes, why: str) -> None:
    ax.text(0.5, 0.5, style.plain(why), transform=ax.transAxes, ha="center", wrap=True, fontsize=8)
