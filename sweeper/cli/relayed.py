"""Commands that ask a cluster where --address names one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console

from sweeper.errors import SweepError

if TYPE_CHECKING:
    from sweeper.runtime.jobs.client import Client
    from sweeper.runtime.jobs.relay import Outcome

_HERE = ("address", "storage", "output")


class Relayed(click.Command):
    """A command whose work is done on the cluster of --address, where the storage is."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it here without an address, else there."""
        address = ctx.params.pop("address", None)
        if not address:
            return super().invoke(ctx)
        if ctx.params.get("tracking") is not None:
            raise click.UsageError("Give --address or --tracking: either has the results.")
        name = ctx.params["name"] if "name" in ctx.params else ctx.params["names"][0]
        output: Path | None = ctx.params.get("output")
        if output is None and self.name == "report":
            output = Path(f"{name}.html")  # the folder of the sweep is not here
        sys.exit(self._ask(address, self.arguments(ctx), name, given_storage(ctx), output))

    def _ask(
        self,
        address: str,
        arguments: Sequence[str],
        name: str,
        storage: str | None,
        output: Path | None,
    ) -> int:
        from sweeper.runtime.jobs import sweeps
        from sweeper.runtime.jobs.client import Client

        client = Client(address)
        place = storage or sweeps.storage_of(sweeps.newest(client, name))
        words = [arguments[0], "--storage", place, *arguments[1:]]
        return show(answer(client, words, None if output is None else output.suffix), output)

    def arguments(self, ctx: click.Context) -> list[str]:
        """The command line as it was given, but for what is of this machine."""
        words, values = [str(self.name)], list[str]()
        for one in self.params:
            assert one.name is not None
            if one.name in _HERE or not _is_given(ctx, one.name):
                continue
            value = ctx.params[one.name]
            if isinstance(one, click.Argument):
                values += value if isinstance(value, tuple) else (value,)
            else:
                words += [one.opts[-1], str(value)]
        return [*words, "--", *values]


def answer(client: Client, arguments: Sequence[str], output: str | None = None) -> Outcome:
    """What a command says on the cluster; see relay.run."""
    from sweeper.runtime.jobs import relay

    with Console(stderr=True).status(f"asking {client.address} …"):
        return relay.run(client, arguments, output)


def show(found: Outcome, output: Path | None = None) -> int:
    """Print what a command said on the cluster, or write its file; returns its exit code."""
    click.echo(found.err, nl=False, err=True)
    if output is None or found.file is None:
        click.echo(found.out, nl=False)
    else:
        _write(output, found.file)
        click.echo(output)
    return found.code


def given_storage(ctx: click.Context) -> str | None:
    """--storage, where it was given: its default is of this machine."""
    return str(ctx.params["storage"]) if _is_given(ctx, "storage") else None


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise SweepError(f"can't be written: {error.strerror}", where=str(path)) from error
