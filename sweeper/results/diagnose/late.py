"""Late instability: did the run fail, when, and by which mechanism?

Three mechanisms are told apart. A stale second moment: gradients are small beside it, it decays by
beta2^(t/2), and the sharpness reaches its threshold (Cohen et al. 2022, 2207.14484; Bai et al.
2025, 2506.04805). One that lags behind a rising gradient: the RMS of g / sqrt(vhat) is above 2.3
before the loss rises (Wortsman et al. 2023, 2304.13013). eps that dominates: the divisor is a
constant, and the rule gradient descent with momentum (Wortsman et al. 2023, 2309.14322).
"""

from __future__ import annotations

import math

from sweeper.optim.catalog import OPTIMIZERS
from sweeper.results.diagnose.evidence import Evidence
from sweeper.results.diagnose.finding import BAD, OPEN, Finding, number

QUESTION = "Does it hold?"
_LAGS = 2.3
# Below it the second moment only decays.
_STALE = 0.5
_DOMINATES = 0.5
# A threshold counts as reached where the last known sharpness comes so near.
_NEAR = 0.9
# Steps before the onset that show what led to it.
_BEFORE = 200


def stability(evidence: Evidence) -> Finding:
    """Whether the run failed, and when."""
    result, horizon = evidence.result, evidence.run.horizon
    where = f"the stress test, seed {evidence.run.seed}" if evidence.is_stress else "the search"
    if not result["failed"]:
        climbed = f"it climbed {number(result['draw_up'])} decades at most"
        said = f"The worst run held for {horizon:,} steps; {climbed}."
        step = result.get("forecast_step")
        if step is None:
            return Finding(QUESTION, said)
        return Finding(
            QUESTION,
            f"{said} But its curvature forecasts instability at step {step:,} "
            f"({result['forecast_confidence']}).",
            _cure(evidence),
            BAD,
        )
    onset = evidence.onset or 0
    if not result["finite"]:
        said = f"In {where} the loss turned non-finite after {len(evidence.loss):,} steps"
    elif result.get("hopeless"):
        said = f"In {where} the loss stayed above ten times its first value from step {onset:,} on"
    else:
        said = (
            f"In {where} the loss reached {number(result['best_loss'])}, and from step {onset:,} "
            f"of {horizon:,} it climbed {number(result['draw_up'])} decades"
        )
        if result["draw_up"] < 1:
            said = (
                f"In {where} the run gave back {result['give_back']:.0%} of its progress from "
                f"step {onset:,} of {horizon:,} on"
            )
    return Finding(QUESTION, f"{said}.", "", BAD)


def mechanism(evidence: Evidence) -> Finding | None:
    """Why a failed run failed; None for one that held."""
    if not evidence.result["failed"]:
        return None
    for look in (_crossing, _lagging, _dominated):
        found = look(evidence)
        if found is not None:
            return Finding("By which mechanism?", *found, BAD)
    return Finding(
        "By which mechanism?",
        _unknown(evidence),
        f"Compare with lr {number(evidence.lr(0) / 3)} and with clip_norm; --trial shows another.",
        OPEN,
    )


def _crossing(evidence: Evidence) -> tuple[str, str] | None:
    """The sharpness reached its threshold."""
    probes = [one for one in evidence.probes if one["threshold"]]
    step, onset = evidence.result.get("forecast_step"), evidence.onset
    if not probes or onset is None:
        return None
    last = probes[-1]
    is_near = last["sharpness"] >= _NEAR * last["threshold"]
    is_forecast = step is not None and abs(step - onset) <= 0.25 * onset
    if not (is_near or is_forecast):
        return None
    first = probes[0]
    said = (
        f"The sharpness reached its threshold: it was {number(first['sharpness'])} at step "
        f"{first['step']:,} and {number(last['sharpness'])} at step {last['step']:,}, of "
        f"{number(last['threshold'])}"
    )
    if is_forecast:
        said += f"; by its growth it is there at step {step:,}, and the loss rose at {onset:,}"
    surprise = evidence.median("grad_surprise", max(0, onset - 5 * _BEFORE), onset)
    if surprise is not None and surprise < _STALE:
        said += (
            f". The gradient is {number(surprise)} of what the second moment remembers (RMS "
            f"before the onset), so the divisor decays and every step grows, twofold in "
            f"{_doubling(evidence):,.0f} steps"
        )
    return f"{said}.", _cure(evidence)


def _doubling(evidence: Evidence) -> float:
    """Steps in which the root of a decaying second moment halves."""
    beta2 = float(evidence.configuration.values.get("beta2", 0.999))
    return 2 * math.log(2) / -math.log(beta2) if 0 < beta2 < 1 else math.inf


def _cure(evidence: Evidence) -> str:
    """What keeps the sharpness below its threshold."""
    values, cures = evidence.configuration.values, []
    safe = evidence.result.get("safe_eps")
    if safe is not None:
        cures.append(f"eps of at least {number(safe)} (now {number(float(values['eps']))})")
    if "amsgrad" in values and not values["amsgrad"]:
        cures.append("amsgrad: true, whose divisor never falls")
    if "beta2" in values:
        gamma = math.sqrt(float(values["beta2"]))
        cures.append(f"a schedule that decays lr by {gamma:.6g} a step or faster (sqrt of beta2)")
        cures.append(f"half of lr only gains {_doubling(evidence):,.0f} steps")
    elif evidence.probes:
        last = evidence.probes[-1]
        share = 0.5 * last["threshold"] / last["sharpness"]
        cures.append(
            f"lr {number(last['lr'] * min(share, 0.5))}, half of what its curvature bears"
        )
    return "; or ".join(cures[:3]) + (f" ({cures[3]})" if len(cures) > 3 else "") + "."


def _lagging(evidence: Evidence) -> tuple[str, str] | None:
    """The second moment lagged behind a rising gradient."""
    onset = evidence.onset
    if onset is None:
        return None
    surprise = evidence.largest("grad_surprise", max(0, onset - _BEFORE), onset + 1)
    norm = evidence.largest("grad_norm", 0, max(1, onset - _BEFORE))
    if surprise is None or surprise < _LAGS:
        return None
    said = (
        f"The gradient rose faster than its second moment: the RMS of g / sqrt(vhat) was "
        f"{number(surprise)} within {_BEFORE} steps of the onset (above {_LAGS} precedes spikes)."
    )
    beta2 = evidence.configuration.values.get("beta2")
    cures = [] if beta2 is None else [f"beta2 {1 - min(0.1, 10 * (1 - float(beta2))):.4g}"]
    if norm is not None:
        cures.append(f"clip_norm {number(norm)}, the largest gradient norm until then")
    if evidence.configuration.optimizer in ("adam", "adamw"):
        cures.append("stable_adamw")
    return said, "; or ".join(cures) + "."


def _dominated(evidence: Evidence) -> tuple[str, str] | None:
    """eps is most of the divisor: the rule is gradient descent with momentum."""
    onset = evidence.onset
    share = None if onset is None else evidence.median("eps_dominance", 0, onset + 1)
    if share is None or share < _DOMINATES:
        return None
    values = evidence.configuration.values
    eps, lr = float(values["eps"]), evidence.lr(0)
    return (
        f"eps is above the root of the second moment in {share:.0%} of the coordinates: the rule "
        f"is gradient descent with momentum and a learning rate of lr / eps = {number(lr / eps)}.",
        f"lr {number(lr / 3)}, or eps {number(eps / 10)} with lr {number(lr / 10)}.",
    )


def _unknown(evidence: Evidence) -> str:
    missing = []
    if not evidence.probes:
        why = evidence.result.get("forecast_reason") or "the run wasn't probed"
        missing.append(f"no sharpness is known ({why})")
    if "grad_surprise" not in evidence.series:
        missing.append(f"{evidence.configuration.optimizer} has no second moment to look at")
    elif evidence.onset is not None:
        surprise = evidence.largest(
            "grad_surprise", max(0, evidence.onset - _BEFORE), evidence.onset + 1
        )
        if surprise is not None:
            missing.append(
                f"the second moment doesn't lag (RMS of g / sqrt(vhat) {number(surprise)})"
            )
    said = "; ".join(missing)
    has_moment = OPTIMIZERS[evidence.configuration.optimizer].betas
    noise = (
        "the noise of mini-batches, or a step that was too long"
        if has_moment
        else "too long a step"
    )
    return f"None of those known{f': {said}' if said else ''}. What remains is {noise}."
