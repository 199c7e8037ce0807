"""`liftos trace`."""

import shutil
import sys
from dataclasses import asdict
from typing import Annotated, Final

import typer

from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.lazy_group import command_app
from liftos_cli.local_stack import DataDirOption, chosen_data_dir
from liftos_cli.options import JsonOption
from liftos_cli.output import print_json
from liftos_local.traces import wait_for_trace, waterfall

app = command_app()

_PLAIN_WIDTH: Final = 120


@app.command(epilog="Example: liftos trace 4bf92f3577b34da6a3ce929d0e0e4736")
def trace(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="32 hex digits.")],
    *,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Show where the time of one request went, through all services and stores.

    Commands say the id with --trace, and services with each error and each line of their logs.
    """
    directory = chosen_data_dir(data_dir)
    try:
        spans = wait_for_trace(directory, trace_id)
    except ValueError as error:
        raise CommandError(str(error), advice="copy it from --trace, a log or an error") from None
    if not spans:
        raise CommandError(
            f"there is no trace {trace_id} in {directory}",
            advice="check --data-dir; only the newest traces are kept",
            exit_code=ExitCode.NEGATIVE,
        )
    if json:
        print_json([asdict(span) | {"duration_seconds": span.duration_seconds} for span in spans])
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PLAIN_WIDTH
    print("\n".join(waterfall(spans, width=width)))
