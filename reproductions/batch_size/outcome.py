"""Do small batches need fewer samples, generalise better and end flatter?"""

from __future__ import annotations

import math
from pathlib import Path

from reproductions import figures, page, wording
from reproductions.batch_size.cost import Cost
from reproductions.batch_size.problem import named
from reproductions.batch_size.training import LRS, TARGET, Course, Place
from reproductions.runs import UNIT

FIGURE = "batch_size.png"
TITLE = "Updates, held-out accuracy and curvature"
# Differences that count: in held-out accuracy, and as a ratio of losses or curvatures.
_ACCURACY, _RATIO = 0.01, 1.2
_SAME_LOSS = "equal training loss"
# Times closer than this ratio are not told apart: they come from the cost of an update.
_CLOCK = 1.25


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
loss on the whole training set. Runs are looked at every {UNIT} updates.

**At a training loss of {TARGET:g}**, with the lr that is there first:

{_costly(found, costs)}

{_places([one.at_target for one in found if one.at_target is not None])}

**After equal epochs**, {first.by_epochs.updates * first.size / found[-1].size:.0f}:

{_places([one.by_epochs for one in found])}

**After equal updates**, {first.by_updates.updates:,}:

{_places([one.by_updates for one in found])}

![training loss against updates and epochs](figures/{FIGURE})

{_story(found, costs, seeds)}"""


def _costly(found: list[Course], costs: list[Cost]) -> str:
    head = ["batch size", "updates", "epochs", "ms of one run alone"]
    rows = []
    for one in found:
        place = one.at_target
        if place is None:
            rows.append([named(one.size), "-", "-", "-"])
            continue
        epochs = place.updates * one.size / found[-1].size
        taken = f"{1e3 * _seconds(place, costs):.0f}"
        rows.append([named(one.size), wording.step(place.updates), f"{epochs:.1f}", taken])
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
                f"{one.curvature:.2f} +- {one.curvature_spread:.2f}",
            ]
            for one in places
        ],
    )


def _story(found: list[Course], costs: list[Cost], seeds: int) -> str:
    there = [one.at_target for one in found if one.at_target is not None]
    text = ""
    if there:
        first = min(_seconds(one, costs) for one in there)
        quick = [named(one.size) for one in there if _seconds(one, costs) < _CLOCK * first]
        fewest = min(there, key=lambda one: one.updates)
        text = (
            f"First at the target by the clock (whoever is within a factor {_CLOCK:g}): "
            f"{wording.listing(quick)}; by updates: {named(fewest.size)}.\n"
        )
    cases = {_SAME_LOSS: there} if len(there) == len(found) else {}
    cases["equal epochs"] = [one.by_epochs for one in found]
    cases["equal updates"] = [one.by_updates for one in found]
    text += "".join(f"\n- {_claims(when, places, seeds)}" for when, places in cases.items())
    return text + (
        f"\n\nA training loss counts as better from a factor {_RATIO:g} on; an accuracy from "
        f"{_ACCURACY:g} and a curvature from a factor {_RATIO:g} on, where that is above two "
        "standard errors. How far training has come shows in both, as the curvature of a "
        "cross-entropy falls with the loss itself: only at equal training loss do they compare "
        "two minima. Each size has its own lr, which bounds the curvature, too: that difference "
        "isn't one of the batch size alone."
    )


def _claims(when: str, places: list[Place], seeds: int) -> str:
    """The claims between the smallest and the full batch."""
    small, full = places[0], places[-1]
    better = small.accuracy - full.accuracy
    counts = max(_ACCURACY, _two_errors(small.spread, full.spread, seeds))
    flatter = full.curvature - small.curvature
    least = (_RATIO - 1) * min(full.curvature, small.curvature)
    least = max(least, _two_errors(small.curvature_spread, full.curvature_spread, seeds))

    def told(holds: bool, reverse: bool) -> str:
        return "holds" if holds else "is **reversed**" if reverse else "is **not** seen"

    losses = f"training loss {wording.loss(small.loss)} against {wording.loss(full.loss)}"
    ahead = full.loss / small.loss
    trains = f"that they train better {told(ahead > _RATIO, ahead < 1 / _RATIO)} ({losses})"
    return (
        f"At {when}, batches of {small.size} against the full one: "
        f"{losses if when == _SAME_LOSS else trains}; that they generalise better "
        f"{told(better > counts, better < -counts)} (held-out accuracy {better:+.3f}); that they "
        f"end flatter {told(flatter > least, flatter < -least)} (curvature "
        f"{small.curvature:.2f} against {full.curvature:.2f})."
    )


def _two_errors(one: float, other: float, seeds: int) -> float:
    """Of the difference of two means, from the standard deviations between seeds."""
    return 2 * math.hypot(one, other) / math.sqrt(seeds)
