"""The entry point: which commands there are, and what becomes of their errors."""

import os
import sys
import traceback
from typing import Annotated, Any, Final

import typer

from liftos_cli.commands.version import version_line
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.lazy_group import LazyCommand, LazyGroup, lazy_group

_COMMANDS: Final = "liftos_cli.commands"

ROOT_COMMANDS: Final = (
    LazyCommand("up", f"{_COMMANDS}.up", "Start LiftOS on this machine, stores and all."),
    LazyCommand("down", f"{_COMMANDS}.down", "Stop what `liftos up` started."),
    LazyCommand(
        "demo", "liftos_cli.demo.command", "Take a public data set through the whole system."
    ),
    LazyCommand("status", f"{_COMMANDS}.status", "Show what runs, and where it listens."),
    LazyCommand("doctor", f"{_COMMANDS}.doctor", "Look for what is wrong with this machine."),
    LazyCommand("trace", f"{_COMMANDS}.trace", "Show where the time of one request went."),
    LazyCommand("token", f"{_COMMANDS}.token", "Print a token that lets a caller in."),
    LazyCommand("entries", f"{_COMMANDS}.entries", "Import, list and sum daily numbers."),
    LazyCommand(
        "search", f"{_COMMANDS}.search", "Find objects, weeks, notes and artifacts, best first."
    ),
    LazyCommand(
        "context",
        f"{_COMMANDS}.context",
        "Print facts about a question for a language model.",
    ),
    LazyCommand("compare", f"{_COMMANDS}.compare", "Set channels and periods against each other."),
    LazyCommand("export", f"{_COMMANDS}.export", "Write data sets for marketing mix models."),
    LazyCommand(
        "insights",
        f"{_COMMANDS}.insights",
        "Find trends, anomalies and benchmarks, and say where they are told.",
    ),
    LazyCommand(
        "calendar", f"{_COMMANDS}.calendar", "Show holidays, retail events and own events."
    ),
    LazyCommand("events", f"{_COMMANDS}.events", "Keep the organisation's own events."),
    LazyCommand("rates", f"{_COMMANDS}.rates", "Keep exchange rates."),
    LazyCommand(
        "connections",
        f"{_COMMANDS}.connections",
        "Keep connections to platforms, and their credentials.",
    ),
    LazyCommand("sources", f"{_COMMANDS}.sources", "Keep the sources that Ingestion reads."),
    LazyCommand("schedules", f"{_COMMANDS}.schedules", "Start runs by the clock."),
    LazyCommand("runs", f"{_COMMANDS}.runs", "Read platforms now, and follow what is read."),
    LazyCommand(
        "dead-letters", f"{_COMMANDS}.dead_letters", "Look at refused rows, and try them again."
    ),
    LazyCommand(
        "alerts", f"{_COMMANDS}.alerts", "See what needs a person, and say where that is told."
    ),
    LazyCommand("suspensions", f"{_COMMANDS}.suspensions", "Hold runs, and let them go on."),
    LazyCommand(
        "migration", f"{_COMMANDS}.migration", "Move a live module's data to LiftOS, and prove it."
    ),
    LazyCommand(
        "platforms", f"{_COMMANDS}.platforms", "Keep the words that entries carry as platform."
    ),
    LazyCommand("settings", f"{_COMMANDS}.settings", "Read and change the organisation."),
    LazyCommand("artifacts", f"{_COMMANDS}.artifacts", "Keep models, results and tables."),
    LazyCommand("notes", f"{_COMMANDS}.notes", "Keep texts with all their versions."),
    LazyCommand("cache", f"{_COMMANDS}.cache", "See how the cache does."),
    LazyCommand(
        "backup", f"{_COMMANDS}.backup", "Back up Core's Postgres, test backups, and restore them."
    ),
    LazyCommand("fence", f"{_COMMANDS}.fence", "Close and open writes."),
    LazyCommand("version", f"{_COMMANDS}.version", "Print the version of LiftOS."),
)
"""Every command, in the order of the help. A command more is one line more."""


class RootGroup(LazyGroup):
    """The root: the one place where errors become sentences and exit codes."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # typer keeps the class to itself
        """Run the command; leave with its exit code."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            _tell(error)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:
            # Python writes what is left at exit, and would complain about the same pipe again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.BROKEN_PIPE) from None
        except Exception as error:
            # typer's own errors are told by typer, with the usage.
            if type(error).__module__.partition(".")[0] == "typer":
                raise
            if ctx.params.get("debug"):
                traceback.print_exc()
            advice = "run it again as `liftos --debug …` and report what it shows"
            _tell(CommandError(f"{type(error).__name__}: {error}", advice=advice))
            raise typer.Exit(ExitCode.FAULT) from None


app = typer.Typer(
    name="liftos",
    cls=lazy_group(*ROOT_COMMANDS, base=RootGroup),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Example: liftos up --detach",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(version_line())
        raise typer.Exit


@app.callback()
def root(
    *,
    debug: Annotated[  # read by RootGroup
        bool, typer.Option("--debug", help="Show where an unexpected error comes from.")
    ] = False,
    version: Annotated[  # acts by itself
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """The one place for the marketing data of all LiftOS modules."""


def main() -> None:
    """Run `liftos`."""
    # gRPC logs each failed handshake; what is wrong is said in the end, and once.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    app(prog_name="liftos")


def _tell(error: CommandError) -> None:
    end = "" if error.message.endswith((".", "…", "!", "?")) else "."
    print(f"Error: {error.message}{end}", file=sys.stderr)
    for line in error.details:
        print(f"  {line}", file=sys.stderr)
    if error.advice:
        print(f"What to do: {error.advice}.", file=sys.stderr)
