"""Draw docs/perceptron.png: what `make sweep` recommends beside the baseline, from its own files.

Run `make sweep` first, then `.venv/bin/python docs/plot_perceptron.py`.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sweeper.lane import trajectories
from sweeper.results.sweep import SweepHandle
from sweeper.study.folder import find


def losses(handle: SweepHandle, trial: int) -> np.ndarray:
    """Losses of every seed of a trial, (seeds, steps)."""
    database = handle.folder.database()
    runs = [row.run.id for row in database.runs([trial])]
    table = trajectories.read(handle.folder.storage, database.parts(runs))
    database.close()
    keep = np.isin(table["run"].to_numpy(), runs)
    return table["loss"].to_numpy()[keep].reshape(len(runs), -1)


def main() -> None:
    """Draw and save."""
    handle = SweepHandle(find("perceptron", "sweeps"))
    ranking = handle.ranking()
    best = ranking[0]
    baseline = next(trial for trial in ranking if trial["origin"] == "baseline")
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for trial, colour, label in (
        (baseline, "#d55e00", "baseline: Adam, lr 1e-3 (its defaults)"),
        (best, "#0072b2", f"recommended: trial {best['trial']}"),
    ):
        for index, loss in enumerate(losses(handle, trial["trial"])):
            axes.plot(loss, color=colour, lw=0.8, alpha=0.9, label=label if index == 0 else None)
    axes.axvline(baseline["onset_step"], color="#d55e00", lw=1, ls=":")
    axes.annotate(
        f"onset, step {baseline['onset_step']:,}",
        (baseline["onset_step"], 1e-2),
        xytext=(-6, 0),
        ha="right",
        textcoords="offset points",
        color="#a04000",
    )
    axes.set(
        yscale="log",
        xlabel="step",
        ylabel="training loss",
        title="Adam climbs back; the recommended setting holds (2 seeds each)",
        xlim=(0, handle.spec.horizon),
    )
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).with_name("perceptron.png"), dpi=130)


if __name__ == "__main__":
    main()
