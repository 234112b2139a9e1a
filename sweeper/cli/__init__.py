"""The command line. Results go to standard output, progress and messages to standard error."""

from __future__ import annotations

import sys

import click

from sweeper.cli import explaining, machine, reading, running, trying
from sweeper.errors import SweepError
from sweeper.version import VERSION


class _Group(click.Group):
    """Commands in the order in which one needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="sweeper")
def cli() -> None:
    """Hyperparameter sweeps that find the settings which stay good when training runs long.

    \b
    sweeper launch search_spaces/perceptron.yaml     run a sweep
    sweeper best perceptron                          see the ranking
    sweeper export perceptron --format json          take the recommended setting along
    sweeper ui                                       look at the runs in MLflow
    """


for _command in (
    running.launch,
    running.resume,
    running.status,
    running.logs,
    running.stop,
    reading.best,
    reading.compare,
    reading.report,
    reading.trajectories,
    reading.export,
    explaining.diagnose,
    trying.validate,
    trying.lr_range,
    trying.tasks,
    machine.ui,
    machine.doctor,
):
    cli.add_command(_command)


def main() -> None:
    """Entry point: a SweepError is one message and exit code 2, never a traceback."""
    try:
        cli(standalone_mode=False)
    except SweepError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except Exception as error:
        from sweeper.study.database import Unavailable

        if not isinstance(error, Unavailable):
            raise
        click.echo(f"Error: {error}\nNothing is lost; try again when that is mended.", err=True)
        sys.exit(2)
