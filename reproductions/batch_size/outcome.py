"""Do small batches need fewer samples, generalise better and end flatter?"""

from __future__ import annotations

import math
from pathlib import Path

from reproductions import figures, page
from reproductions.batch_size.cost import Cost
from reproductions.batch_size.problem import named
from reproductions.batch_size.training import LRS, TARGET, Course, Place
from reproductions.stability import wording

FIGURE = "batch_size.png"
TITLE = "Updates, held-out accuracy and curvature"
# Differences that count: in held-out accuracy (3 of 360 images), and as a ratio of curvatures.
_ACCURACY, _CURVATURE = 3 / 360, 1.2


def draw(found: list[Course], folder: Path) -> None:
    """Training loss against updates and against epochs."""
    colours = (figures.BLUE, figures.GREEN, figures.PURPLE, figures.ORANGE)
    with figures.drawn(folder / FIGURE, 1, 2, (9.6, 3.6)) as (left, right):
        for colour, one in zip(colours, found, strict=True):
            updates, loss = one.curve
            label = f"{named(one.size)}, lr {one.by_updates.lr:g}"
            left.plot(updates, loss, color=colour, lw=1.2, label=label)
            right.plot(updates * one.size / found[-1].size, loss, color=colour, lw=1.2)
        left.set(title="training loss", yscale="log", xlabel="updates")
        right.set(title="training loss", yscale="log", xscale="log", xlabel="epochs")
        left.legend(fontsize=8.5)


def section(found: list[Course], costs: list[Cost], seeds: int) -> str:
    """The section of the page; times are those of the section on cost."""
    first = found[0]
    return f"""### {TITLE}

Task `digits` (64 hidden units, {found[-1].size:,} images, 360 held out), SGD without
momentum, constant lr {", ".join(f"{lr:g}" for lr in LRS)}, and for each size the one with
the lowest loss on the whole training set at that moment, so that what is held out chooses nothing.
Means over {wording.plural(seeds, "seed")}. `curvature` is the top eigenvalue of the Hessian of the
loss on the whole training set. Runs are looked at every 20 updates.

**At a training loss of {TARGET:g}**, with the lr that is there first:

{_costly(found, costs)}

{_places([one.at_target for one in found if one.at_target is not None])}

**After {round(first.by_epochs.updates * first.size / found[-1].size)} epochs** (the full batch:
{found[-1].by_epochs.updates}):

{_places([one.by_epochs for one in found])}

**After {first.by_updates.updates:,} updates**:

{_places([one.by_updates for one in found])}

![training loss against updates and epochs](figures/{FIGURE})

{_story(found, costs, seeds)}"""


def _costly(found: list[Course], costs: list[Cost]) -> str:
    head = ["batch size", "updates", "epochs", "seconds of one run alone"]
    rows = []
    for one in found:
        place = one.at_target
        if place is None:
            rows.append([named(one.size), "-", "-", "-"])
            continue
        epochs = place.updates * one.size / found[-1].size
        seconds = _seconds(place, costs)
        rows.append(
            [named(one.size), wording.step(place.updates), f"{epochs:.1f}", f"{seconds:.2f}"]
        )
    return page.table(head, rows)


def _seconds(place: Place, costs: list[Cost]) -> float:
    """By the cost of an update measured alone."""
    each = {one.size: one.update for one in costs if one.task == "digits"}
    return place.updates * each[place.size]


def _places(places: list[Place]) -> str:
    head = ["batch size", "lr", "updates", "training loss", "held-out accuracy", "held-out loss",
            "curvature"]  # fmt: skip
    return page.table(
        head,
        [
            [
                named(one.size),
                f"{one.lr:g}" + (" (edge of the grid)" if one.lr in (LRS[0], LRS[-1]) else ""),
                wording.step(one.updates),
                wording.loss(one.loss),
                f"{one.accuracy:.3f} +- {one.spread:.3f}",
                f"{one.held_out_loss:.3f}",
                f"{one.curvature:.2f}",
            ]
            for one in places
        ],
    )


def _story(found: list[Course], costs: list[Cost], seeds: int) -> str:
    there = [one.at_target for one in found if one.at_target is not None]
    text = ""
    if there:
        quickest = min(there, key=lambda one: _seconds(one, costs))
        fewest = min(there, key=lambda one: one.updates)
        text = (
            f"First at the target by the clock is batch size {named(quickest.size)}, by updates "
            f"{named(fewest.size)}.\n"
        )
    cases = {"equal training loss": there} if len(there) == len(found) else {}
    cases["equal epochs"] = [one.by_epochs for one in found]
    cases["equal updates"] = [one.by_updates for one in found]
    text += "".join(f"\n- {_claims(when, places, seeds)}" for when, places in cases.items())
    return text + (
        "\n\nA difference in accuracy counts from 3 images and two standard errors on, one in "
        f"curvature from a factor {_CURVATURE:g}. The curvature of a cross-entropy falls with the "
        "loss itself: only at equal training loss does it compare how flat two minima are."
    )


def _claims(when: str, places: list[Place], seeds: int) -> str:
    """The two claims between the smallest and the full batch."""
    small, full = places[0], places[-1]
    better = small.accuracy - full.accuracy
    counts = max(_ACCURACY, 2 * math.hypot(small.spread, full.spread) / math.sqrt(seeds))
    flatter = full.curvature / small.curvature

    def told(holds: bool, reverse: bool) -> str:
        return "holds" if holds else "is **reversed**" if reverse else "is **not** seen"

    return (
        f"At {when}: that small batches generalise better "
        f"{told(better > counts, better < -counts)} (held-out accuracy {better:+.3f} of "
        f"{small.size} against full, at training losses {wording.loss(small.loss)} and "
        f"{wording.loss(full.loss)}); that they end flatter "
        f"{told(flatter > _CURVATURE, flatter < 1 / _CURVATURE)} (curvature "
        f"{small.curvature:.2f} against {full.curvature:.2f})."
    )
