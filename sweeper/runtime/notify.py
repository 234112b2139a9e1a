"""Telling a command and a webhook that a launch has ended. It can't fail, nor delay for long."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from rich.console import Console

from sweeper import webhook_url
from sweeper.errors import SweepError
from sweeper.spec_sections import Notify

TIMEOUT_S = 10.0
_LONGEST = 200


class _Undelivered(Exception):
    """Why a notice did not arrive."""


def check(notify: Notify) -> None:
    """Raise SweepError for a command that isn't there, or a webhook without a URL."""
    if notify.command_line and shutil.which(notify.command_line[0]) is None:
        raise SweepError(
            f"there is no command {notify.command_line[0]!r}",
            where="notify.command",
            allowed="a program that can be run, and its arguments; no shell",
        )
    if notify.webhook is not None:
        webhook_url.resolve(notify.webhook)


def send(notify: Notify, notice: Mapping[str, Any], console: Console) -> None:
    """Tell whom the spec names, both at once; what fails is said in one line each.

    Args:
        notice: see sweeper.runtime.notice.
    """
    if notice["state"] not in notify.on:
        return
    payload = json.dumps(notice).encode()
    ways: dict[str, Callable[[], None]] = {}
    if notify.command_line:
        ways["command"] = lambda: _run(notify.command_line, payload, notice)
    if notify.webhook is not None:
        webhook = notify.webhook
        ways["webhook"] = lambda: _post(webhook, payload)
    # Daemons: a server that answers drop by drop outlives every timeout of a socket.
    outcomes: dict[str, str] = {}
    threads = [
        threading.Thread(target=_try, args=(name, way, outcomes), daemon=True)
        for name, way in ways.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S + 1)
    for name in ways:
        problem = outcomes.get(name, f"no answer within {TIMEOUT_S:.0f} s")
        if problem:
            said = f"The notification did not arrive: notify.{name}: {problem}"
            console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _try(name: str, way: Callable[[], None], outcomes: dict[str, str]) -> None:
    """Note what came of one way; empty where it went well."""
    try:
        way()
        outcomes[name] = ""
    except (_Undelivered, SweepError, OSError) as error:
        outcomes[name] = str(error)


def _run(command: list[str], payload: bytes, notice: Mapping[str, Any]) -> None:
    environment = {"SWEEPER_SWEEP": notice["sweep"], "SWEEPER_STATE": notice["state"]}
    # Files and not pipes: what the command leaves running in the background may keep them open.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=os.environ | environment,
            start_new_session=True,  # Ctrl-C is for the driver
        )
        try:
            process.communicate(payload, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise _Undelivered(f"{command[0]} took longer than {TIMEOUT_S:.0f} s") from None
        if process.returncode:
            said.seek(0)
            lines = said.read(10_000).decode(errors="replace").strip().splitlines()
            words = f": {lines[-1][:_LONGEST]}" if lines else ""
            raise _Undelivered(f"{command[0]} ended with code {process.returncode}{words}")


class _NoRedirect(HTTPRedirectHandler):
    """Leave a redirection alone: it would make a GET without the notice, at another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs


def _post(webhook: str, payload: bytes) -> None:
    url = webhook_url.resolve(webhook)
    headers = {"Content-Type": "application/json", "User-Agent": "sweeper"}
    request = Request(url, data=payload, headers=headers)  # noqa: S310 - http(s), checked
    try:
        with build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S):
            return
    except HTTPError as error:
        reason = f"it answers {error.code}"
        error.close()
    except (OSError, HTTPException) as error:
        inner = error.reason if isinstance(error, URLError) else error
        reason = f"{type(inner).__name__}: {inner}" if isinstance(inner, Exception) else str(inner)
    raise _Undelivered(f"{webhook_url.shown(url)}: {reason[:_LONGEST]}")
