"""The guide: training loss, critical point, steps, held-out data (Lee, ML 2022, lecture 2)."""

from __future__ import annotations

import math

import numpy as np

from sweeper.optim.configuration import flatten
from sweeper.ranking.evidence import Row
from sweeper.results.diagnose.endpoint import End
from sweeper.results.diagnose.evidence import Evidence
from sweeper.results.diagnose.finding import BAD, GOOD, OPEN, Finding, number
from sweeper.results.table import setting_text

# A loss is as low as another within this factor: the least that rankings tell apart.
_SAME = 10**0.3
# A gradient this share of its first norm is none; a negative eigenvalue this share of the top one
# makes a saddle.
_NO_GRADIENT, _SADDLE = 1e-2, 1e-2
# Cosines of successive updates: against each other, and along each other.
_BOUNCES, _ALONG = -0.3, 0.9
# Shares of the threshold of the sharpness.
_AT_EDGE, _FAR = 0.8, 0.1
# A loss that falls by this share in the last fifth of the run still falls.
_FALLS = 0.05
# Of what was held out, above the training loss.
WORSE = 1.2


def training_loss(evidence: Evidence, smaller: float | None) -> Finding:
    """Is the training loss low, and if not, is it the model or the optimization?

    Args:
        smaller: tail loss of a smaller model trained alike, where one was tried.
    """
    question = "Is the training loss low?"
    own = _tail(evidence.trial)
    first = float(evidence.result["first_loss"])
    start = (
        f"It fell from {number(first)} to {number(float(evidence.result['best_loss']))} at best"
    )
    if own is None:
        return Finding(question, f"{start}; the run didn't reach its tail.", "", BAD)
    said = f"{start}; the worst of its tail is {number(own)}"
    if smaller is not None:
        said += f", and a smaller model came to {number(smaller)}"
    better = _better(evidence, own)
    if better is not None:
        settings = ", ".join(_differences(evidence.trial, better))
        return Finding(
            question,
            f"{said}. Trial {better['trial']}, the same model, held and came to "
            f"{number(_tail(better) or 0)}: it is the optimization, not the model.",
            f"As trial {better['trial']}: {settings}.",
            BAD,
        )
    if smaller is None:
        known = "no trial that held came to much less"
        return Finding(
            question,
            f"{said}; {known}.",
            "If that is too high: --smaller KEY=VALUE trains a smaller model alike. One that "
            "comes lower proves that the optimization fails; else try a larger model.",
            GOOD,
        )
    if smaller < own / _SAME:
        return Finding(
            question,
            f"{said}. What a smaller model can do a larger one could: it is the optimization.",
            "Another lr or schedule before another model.",
            BAD,
        )
    return Finding(
        question,
        f"{said}, no lower: the optimization does what the model can.",
        "If that is too high, a larger model." if smaller > own * _SAME else "",
        GOOD,
    )


def critical_point(evidence: Evidence, end: End) -> Finding:
    """Does it end where the gradient vanishes, and of which kind is the point?"""
    question = "Is it at a critical point?"
    share = end.gradient / end.first_gradient if end.first_gradient else math.nan
    said = (
        f"The gradient at the end is {number(end.gradient)}, {number(share)} of the first "
        f"({number(end.first_gradient)}); mean over the batches of an epoch"
    )
    if not math.isfinite(share):
        return Finding(question, "The run ends where nothing is finite.", "", OPEN)
    if share > _NO_GRADIENT:
        return Finding(
            question,
            f"{said}. No: there is a slope left, so the loss isn't stuck for want of one.",
        )
    found = end.curvature
    if found is None:
        why = end.trouble or "the curvature isn't finite"
        return Finding(question, f"{said}. Yes; of which kind isn't known: {why}.", "", OPEN)
    ends = f"eigenvalues of the Hessian from {number(found.bottom_eigenvalue)} to " + number(
        found.top_eigenvalue
    )
    if found.top_eigenvalue <= 0:
        return Finding(question, f"{said}; {ends}: a maximum.", "Another initialisation.", BAD)
    if found.bottom_eigenvalue < -_SADDLE * found.top_eigenvalue:
        return Finding(
            question,
            f"{said}; {ends}: a saddle.",
            "Momentum, a smaller batch, or a larger lr for a while (sgdr, onecycle) leave it.",
            BAD,
        )
    return Finding(question, f"{said}; {ends}: a minimum, as far as they tell.")


def steps(evidence: Evidence, end: End | None) -> Finding:
    """Do the steps bounce between walls, or creep?"""
    question = "Are the steps of the right size?"
    cosine, share = _cosine(evidence, end), _edge_share(evidence, end)
    figures = []
    if cosine is not None:
        figures.append(f"cosine of successive updates {number(cosine)} (last tenth)")
    if share is not None:
        figures.append(f"sharpness {share:.0%} of its threshold")
    fall = _last_fall(evidence.loss)
    if fall is not None:
        figures.append(f"the loss {_moved(fall)} in the last fifth of the run")
    said = "; ".join(figures)
    said = said[:1].upper() + said[1:]
    if cosine is None:
        why = "Without --records the run is made once more, and says so"
        return Finding(question, f"{said}. The updates aren't recorded.", f"{why}.", OPEN)
    lr = evidence.lr(evidence.run.horizon - 1)
    if cosine < _BOUNCES:
        factor = 0.5 if share is None else min(0.5, 0.5 / share)
        return Finding(
            question,
            f"{said}. They bounce between the walls of a valley.",
            f"lr {number(lr * factor)} at the end (now {number(lr)}): a schedule that decays.",
            BAD,
        )
    is_far = share is None or share < _FAR
    if cosine > _ALONG and is_far and fall is not None and fall > _FALLS:
        factor = 10.0 if share is None else min(10.0, 0.5 / share)
        return Finding(
            question,
            f"{said}. They creep: each goes on in the direction of the one before.",
            f"lr {number(evidence.lr(0) * factor)}, or a longer horizon.",
            BAD,
        )
    return Finding(question, f"{said}. Neither bouncing nor creeping.")


def held_out(evidence: Evidence, end: End, unseen: float | None) -> Finding | None:
    """Is what was held out worse, and is that overfitting or a mismatch? None without such data.

    Args:
        unseen: loss of a random tenth of the training data, of a run that hasn't seen it.
    """
    question = "Does it generalise?"
    loss = end.metrics.get("held_out_loss")
    if loss is None:
        return None
    said = f"In eval mode the loss is {number(end.train_loss)} on the training data and "
    said += f"{number(loss)} on what was held out"
    if loss <= WORSE * max(end.train_loss, 1e-12):
        return Finding(question, f"{said}.")
    if unseen is None:
        return Finding(question, f"{said}: overfitting, or data of another kind.", "", OPEN)
    if unseen > (end.train_loss * loss) ** 0.5:
        better = _better_held_out(evidence, loss)
        return Finding(
            question,
            f"{said}, and {number(unseen)} on a random tenth of the training data that "
            "another run didn't see: overfitting.",
            f"{better}weight decay (adamw, sgdw), dropout, more data or augmentation, a "
            "smaller model, or an earlier end.",
            BAD,
        )
    return Finding(
        question,
        f"{said}, but {number(unseen)} on a random tenth of the training data that another run "
        "didn't see: a mismatch. The data held out are of another kind.",
        "Data like those that count, no more of these.",
        BAD,
    )


def _tail(row: Row) -> float | None:
    value = row.get("tail_loss")
    return None if value is None else float(value)


def _better(evidence: Evidence, own: float) -> Row | None:
    """The trial of the same model that held and came lowest, where that is clearly lower."""
    arguments = evidence.trial["config"].get("task_args")
    candidates = [
        row
        for row in evidence.peers
        if row["failure_fraction"] == 0
        and _tail(row) is not None
        and row["config"].get("task_args") == arguments
    ]
    best = min(candidates, key=lambda row: _tail(row) or 0.0, default=None)
    if best is None:
        return None
    tail = _tail(best) or 0.0
    lower = tail < own / _SAME if own > 0 and tail > 0 else tail < own - abs(own) * (_SAME - 1)
    return best if lower else None


def _better_held_out(evidence: Evidence, loss: float) -> str:
    known = [row for row in evidence.peers if "held_out_loss" in (row.get("objectives") or {})]
    best = min(known, key=lambda row: float(row["objectives"]["held_out_loss"]), default=None)
    if best is None or best["objectives"]["held_out_loss"] > loss / WORSE:
        return ""
    return f"As trial {best['trial']} ({number(best['objectives']['held_out_loss'])}); "


def _differences(row: Row, other: Row) -> list[str]:
    mine, theirs = flatten(row["config"]), flatten(other["config"])
    return [
        f"{key} {setting_text(value)} (now {setting_text(mine[key])})"
        if key in mine
        else f"{key} {setting_text(value)}"
        for key, value in theirs.items()
        if mine.get(key) != value
    ]


def _cosine(evidence: Evidence, end: End | None) -> float | None:
    horizon = evidence.run.horizon
    if end is not None:
        last = end.cosine[-max(1, len(end.cosine) // 10) :]
        last = last[np.isfinite(last)]
        return float(np.median(last)) if last.size else None
    return evidence.median("update_cosine", horizon - horizon // 10, horizon)


def _edge_share(evidence: Evidence, end: End | None) -> float | None:
    """The last sharpness by its threshold."""
    if end is not None and end.curvature is not None:
        edge = evidence.threshold(evidence.run.horizon)
        sharpness = end.curvature.sharpness
    elif evidence.probes:
        edge = float(evidence.probes[-1]["threshold"] or math.nan)
        sharpness = float(evidence.probes[-1]["sharpness"])
    else:
        return None
    return sharpness / edge if math.isfinite(sharpness / edge) else None


def _last_fall(loss: np.ndarray) -> float | None:
    """By which share the loss falls in the last fifth: medians of its two halves."""
    last = loss[-max(4, len(loss) // 5) :]
    if not np.isfinite(last).all():
        return None
    before, after = np.median(last[: len(last) // 2]), np.median(last[len(last) // 2 :])
    return float((before - after) / abs(before)) if before else None


def _moved(fall: float) -> str:
    if abs(fall) < 0.005:
        return "stood still"
    return f"fell by {fall:.0%}" if fall > 0 else f"rose by {-fall:.0%}"
