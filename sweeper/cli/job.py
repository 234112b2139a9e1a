"""What a job on a cluster runs: a command of sweeper, as it was ordered."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from sweeper.cli import main
from sweeper.cli.options import ADDRESS_VARIABLE
from sweeper.runtime.jobs.environment import Order, received
from sweeper.runtime.jobs.relay import Outcome, packed


def run(order: Order) -> None:
    """Do what was ordered; ends the process."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sweeper-job-")))
        if order.is_relayed:
            sys.stdout.write(packed(_captured(order, place)))
            sys.stdout.flush()
            sys.exit(0)
        sys.exit(_called(_arguments(order, place)))


def _arguments(order: Order, place: Path) -> list[str]:
    """The command line, with files of this machine in it."""
    arguments = list(order.arguments)
    if order.spec is not None:
        file = place / f"{arguments[1]}.yaml"
        file.write_text(order.spec, encoding="utf-8")
        arguments[1] = str(file)
    if order.output is not None:
        arguments[1:1] = ["--output", str(place / f"output{order.output}")]
    return arguments


def _captured(order: Order, place: Path) -> Outcome:
    """Run a command; what it prints goes to files, native code included."""
    arguments = _arguments(order, place)
    saved = [os.dup(number) for number in (1, 2)]
    names = [place / "out", place / "err"]
    for number, name in zip((1, 2), names, strict=True):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    code = _called(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    for number, handle in zip((1, 2), saved, strict=True):
        os.dup2(handle, number)
    out, err = (name.read_bytes() for name in names)
    written = place / f"output{order.output}"
    return Outcome(code, out, err, written.read_bytes() if written.is_file() else None)


def _called(arguments: list[str]) -> int:
    os.environ.pop(ADDRESS_VARIABLE, None)  # here is where it leads
    sys.argv = ["sweeper", *arguments]
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


if __name__ == "__main__":
    run(received())
