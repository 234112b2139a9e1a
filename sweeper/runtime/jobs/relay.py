"""A command that runs on the cluster, where the storage is, and whose output comes back."""

from __future__ import annotations

import base64
import json
import secrets
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sweeper.errors import SweepError
from sweeper.runtime.jobs.client import Client
from sweeper.runtime.jobs.environment import Order, command, runtime_env

_MARK = "sweeper-output:"
_RELAY = "sweeper.relay"
_AGE_S = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command came to.

    Args:
        code: its exit code.
        out: its standard output.
        err: its standard error.
        file: that it wrote.
    """

    code: int
    out: bytes
    err: bytes
    file: bytes | None = None


def run(client: Client, arguments: Sequence[str], output: str | None = None) -> Outcome:
    """Run a command of sweeper on the cluster.

    Args:
        arguments: of the command line.
        output: suffix of the file that it writes.

    Raises:
        SweepError: it could not run there.
    """
    order = Order(tuple(arguments), output=output, is_relayed=True)
    id = f"sweeper-{arguments[0]}-{secrets.token_hex(4)}"
    _forget_earlier(client)
    client.submit(command(order), id, runtime_env(order), {_RELAY: arguments[0]})
    try:
        client.await_end(id)
    except BaseException:  # nobody waits for it any more
        with suppress(SweepError):
            client.stop(id)
        raise
    return _outcome(client, id)


def _forget_earlier(client: Client) -> None:
    """Remove what only asked from the cluster's list of jobs.

    Not at its own end: Ray notes the end of a job twice, and one that was forgotten in between
    stands in the list again, as failed.
    """
    before = (time.time() - _AGE_S) * 1000
    for job in client.jobs():
        is_ours = _RELAY in (job.metadata or {}) and job.status.is_terminal()
        if is_ours and (job.end_time or 0) < before:
            client.delete(str(job.submission_id))


def packed(found: Outcome) -> str:
    """An outcome as one line of a log."""
    parts = {"out": found.out, "err": found.err, "file": found.file}
    texts = {key: base64.b64encode(v).decode() for key, v in parts.items() if v is not None}
    content = json.dumps({"code": found.code, **texts}).encode()
    return f"\n{_MARK}{base64.b64encode(zlib.compress(content)).decode()}\n"


def unpacked(log: str) -> Outcome | None:
    """The outcome in a log; None where there is none."""
    lines = [one for one in log.splitlines() if one.startswith(_MARK)]
    if not lines:
        return None
    content = json.loads(zlib.decompress(base64.b64decode(lines[-1].removeprefix(_MARK))))
    parts = {
        key: base64.b64decode(content[key]) for key in ("out", "err", "file") if key in content
    }
    return Outcome(code=int(content["code"]), **parts)


def _outcome(client: Client, id: str) -> Outcome:
    log = client.logs(id)
    found = unpacked(log)
    if found is not None:
        return found
    last = [one for one in log.splitlines() if one.strip()]
    said = last[-1] if last else client.message(id)
    raise SweepError(
        f"the cluster can't run sweeper: {said[:500]}",
        where=client.address,
        cure="Its machines need Python 3.11 with sweeper's dependencies, on the PATH of `ray "
        "start`; `sweeper doctor --address` compares versions.",
    )
