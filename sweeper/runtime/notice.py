"""What is said of a launch that has ended, to people and to programs."""

from __future__ import annotations

import socket
from typing import Any

from sweeper.errors import SweepError
from sweeper.results.outcome import recommended_text
from sweeper.results.status import status
from sweeper.results.sweep import SweepHandle
from sweeper.study.database import Unavailable
from sweeper.study.folder import Folder

SCHEMA = 1
_STATES = {"finished": "finished", "interrupted": "stopped", "failed": "failed"}
_LONGEST = 300  # of an error in the line for people


def notice(
    folder: Folder, ended: str, error: BaseException | None, duration_s: float
) -> dict[str, Any]:
    """A notice in plain values.

    `sweep`, `state` (finished, stopped or failed), `text` (one line for people), `trials` (`told`,
    `failed`, `pruned`, `total`; None where the study's database is out of reach), `recommended`
    (`trial`, `config`, `evidence`, `proven`; None unless the sweep has finished and something
    held), `reason` (why nothing is recommended then), `error`, `storage`, `host`, `duration_s` of
    this launch.

    Args:
        ended: finished, interrupted or failed.
        error: what it failed with.
    """
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "sweep": folder.name,
        "state": _STATES[ended],
        "text": "",
        "trials": _trials(folder),
        "recommended": None,
        "reason": None,
        "error": None if error is None else str(error) or type(error).__name__,
        "storage": str(folder.path.parent),
        "host": socket.gethostname(),
        "duration_s": round(duration_s, 1),
    }
    said = ""
    if ended == "finished":
        try:
            recommendation = SweepHandle(folder).recommendation()
        except (SweepError, Unavailable) as mistake:
            found["reason"] = said = str(mistake)
        else:
            evidence = recommendation["evidence"]
            found["recommended"] = {
                "trial": evidence["trial"],
                **{key: recommendation[key] for key in ("config", "evidence", "proven")},
            }
            said = recommended_text(recommendation)
    return {**found, "text": _text(found, said)}


def _trials(folder: Folder) -> dict[str, int] | None:
    try:
        known = status(folder)
    except (SweepError, Unavailable):
        return None
    return {
        "told": known["told"],
        "failed": known["failed"],
        "pruned": known["pruned"],
        "total": known["trials"],
    }


def _text(found: dict[str, Any], said: str) -> str:
    trials, state = found["trials"], found["state"]
    count = f" with {trials['told']:,} of {trials['total']:,} trials" if trials else ""
    head = f"{found['sweep']}: {state} after {_duration(found['duration_s'])}{count}"
    if state == "failed":
        said = " ".join((found["error"] or "").split())[:_LONGEST]
    elif state == "stopped":
        said = f"go on with `sweeper resume {found['sweep']} --storage {found['storage']}`"
    return f"{head}. {said}" if said else head


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
