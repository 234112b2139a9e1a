"""What a reader has: a clone whose sweeps are short, a finished one, and a terminal.

Commands run as they are printed, by these rules:

- Every spec is shortened when it is written, see SHORT and SHORTER.
- SPEC, NAME, ... are filled in, see FILLED; `[--option]` is given.
- `launch` and `resume` get `--local`: tests/runtime and tests/docs/test_tutorial.py have Ray.
- SPEC is a stand-in: with other settings its launch has a storage of its own, without it is the
  sweep that is there already.
- The budget of a command is that of SHORT; a sweep in epochs has one.
- A server gets a free port in place of 5000, on the whole page, or of another `--port`, and ends
  with the page. Where a page asks at that address before it has started one, that is `sweeper ui`.
- `sweeper stop` needs something to stop: a long sweep of that name is started before.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
from pages import ROOT, Step, pages, steps
from ruamel.yaml import YAML

from sweeper.cli import cli

SHORT: dict[str, Any] = {
    "horizon": 200,
    "seeds": 2,
    "budget": {"trials": 6},
    "stress": {"top": 1, "seeds": 2, "horizon": "2x", "neighbours": 0},
    "lanes": {"slots": 8},
}
SHORTER: dict[str, Any] = {  # of own loops: every run is a process
    "horizon": 20,
    "seeds": 1,
    "budget": {"trials": 2},
    "stress": {"top": 0},
    "lanes": {},
}
TRIALS = {"perceptron": 20}  # its pages speak of trial 18
LOOPS = ("train",)  # the function that such a task names
FILLED = {"SPEC": "search_spaces/digits.yaml", "NAME": "perceptron", "POLICY": "robust"}
FILLED |= {"N": "3", "FILE": "written.csv"}
ADDRESS = "http://127.0.0.1:5000"
_POSTGRES = "postgresql://user@host/database"
_COMMAND = [sys.executable, "-m", "sweeper.cli"]


class Clone:
    """The folder in which a page is followed; the working directory is it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: set[str] = set()
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self._port = free_port()
        self._database: Any = None
        for name in ("search_spaces", "examples"):
            shutil.copytree(ROOT / name, folder / name)
        for spec in sorted(folder.glob("*/*.yaml")):
            self.write(spec.relative_to(folder), spec.read_text(encoding="utf-8"))
        for page in pages():
            for step in steps(page):
                if step.kind == "file":
                    self.write(Path(step.name), step.text)

    def write(self, name: Path, text: str) -> None:
        """Write a file that a page prints; a spec is shortened."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.here(text), encoding="utf-8")
        if path.suffix in (".yaml", ".yml"):
            _shorten(path)

    def run(self, step: Step) -> None:
        """Run a command, once whatever the number of pages that print it; servers once a page."""
        command = self.here(self._filled(step.text))
        if command in self.done:
            return
        if ADDRESS in step.text and not self._servers:
            self._serve(["sweeper", "ui"], step.where)
        program, *arguments = shlex.split(command)
        if arguments[0] in ("ui", "server"):  # it ended with the page before
            self._serve([program, *arguments], step.where)
            return
        self.done.add(command)
        assert program == "sweeper", f"{step.where}: {command}"
        arguments += self._added(step.text, arguments)
        if arguments[0] == "stop":
            self._stop(arguments)
            return
        result = click.testing.CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0, (
            f"{step.where}: {command}\n{result.output}{result.exception!r}"
        )

    def _added(self, printed: str, arguments: list[str]) -> list[str]:
        """What the rules above add to a command."""
        if arguments[0] not in ("launch", "resume") or "--dry-run" in arguments:
            return []
        local = [] if "--local" in arguments else ["--local"]
        is_stand_in = "SPEC" in printed and "--set" in arguments
        return local + (["--storage", f"storage{len(self.done)}"] if is_stand_in else [])

    def _serve(self, command: list[str], where: str) -> None:
        """Start a server that doesn't run yet, and wait until it answers."""
        if shlex.join(command) in self._servers:
            return
        program = _COMMAND if command[0] == "sweeper" else [sys.executable, "-m", command[0]]
        arguments, port = command[1:], self._port
        if "--port" in arguments:
            place = arguments.index("--port")
            port = port if arguments[place + 1] == str(port) else free_port()
            del arguments[place : place + 2]
        process = subprocess.Popen(
            [*program, *arguments, "--port", str(port)],
            env={**os.environ, "MLFLOW_WORKERS": "1"},  # else four, which take seconds to start
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._servers[shlex.join(command)] = process

        def answers() -> bool:
            assert process.poll() is None, f"{where}: {command} ended"
            with contextlib.suppress(OSError):
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
                with page:
                    return bool(page.status == 200)
            return False

        await_that(answers)

    def _stop(self, arguments: list[str]) -> None:
        """Start a sweep that would take minutes, and stop it with the command of the page."""
        storage = ["--storage", "stopped"]
        spec = self.folder / "search_spaces" / "perceptron.yaml"
        with subprocess.Popen(
            [*_COMMAND, "launch", str(spec), "--local", *storage, "--set", "horizon=2_000_000"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                name = arguments[1]
                await_that(lambda: status(name, storage).get("run_steps", 0) > 0)
                result = click.testing.CliRunner().invoke(cli, [*arguments, *storage])
                assert result.exit_code == 0, result.output
                assert process.wait(60) == 130
                assert status(name, storage)["state"] == "interrupted"
            finally:
                process.kill()

    def end(self) -> None:
        """End the database."""
        if self._database is not None:
            self._database.remove()

    def end_page(self) -> None:
        """End its servers, and forget its modules: other pages have others of that name."""
        for server in self._servers.values():
            server.terminate()
            server.wait(30)
        self._servers, self._port = {}, free_port()
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.folder)):
                del sys.modules[name]

    def here(self, text: str) -> str:
        """What a page prints, with the port of this page."""
        return re.sub(r"(127\.0\.0\.1:|--port )5000\b", rf"\g<1>{self._port}", text)

    def _filled(self, command: str) -> str:
        if _POSTGRES in command:
            command = command.replace(_POSTGRES, self._postgres())
        whole = re.sub(r"\[(--[^\]]*)\]", r"\1", command)
        whole = re.sub(r"(budget\.trials=|--add-trials )\d+", r"\g<1>6", whole)
        return re.sub(r"\b[A-Z]+\b", lambda word: FILLED.get(word[0], word[0]), whole)

    def _postgres(self) -> str:
        """URL of a server that is started when it is first needed."""
        if self._database is None:
            sys.path.append(str(ROOT / "tests" / "servers"))
            self._database = importlib.import_module("postgres_server").Server()
            self._database.start()
        return str(self._database.url)


def status(name: str, options: list[str]) -> dict[str, Any]:
    """What `sweeper status` says; nothing while there is no such sweep."""
    arguments = ["status", name, "--format", "json", *options]
    result = click.testing.CliRunner().invoke(cli, arguments)
    return dict(json.loads(result.stdout)) if result.exit_code == 0 else {}


def await_that(condition: Callable[[], bool], within_s: float = 90.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _shorten(path: Path) -> None:
    yaml = YAML()
    spec = yaml.load(path)
    is_loop = str(spec["task"]).rpartition(":")[2] in LOOPS
    in_epochs = isinstance(spec["horizon"], dict)
    for key, value in (SHORTER if is_loop else SHORT).items():
        spec[key] = {**spec.get(key, {}), **value} if isinstance(value, dict) else value
    spec["horizon"] = {"epochs": 1} if in_epochs else spec["horizon"]
    spec["budget"]["trials"] = TRIALS.get(spec["name"], spec["budget"]["trials"])
    yaml.dump(spec, path)
