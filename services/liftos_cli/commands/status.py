"""`liftos status`."""

from typing import Final

import typer
from rich.text import Text

from liftos_cli.errors import ExitCode
from liftos_cli.lazy_group import command_app
from liftos_cli.local_stack import DataDirOption, chosen_data_dir, data_dir_words, stack_errors
from liftos_cli.options import JsonOption
from liftos_cli.output import Column, print_table, print_text, say
from liftos_local.state import ProcessState, StackState, read_status

app = command_app()

_NEXT: Final = {
    StackState.STOPPED: "liftos up --detach",
    StackState.KILLED: "liftos up --detach",
    StackState.FAILED: "liftos doctor",
    StackState.UNHEALTHY: "liftos doctor",
}
_STYLES: Final = {ProcessState.HEALTHY: "green", ProcessState.STARTING: "yellow"}


@app.command(epilog="Example: liftos status --json")
def status(*, data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """Show what runs, and where it listens. Exit code 1 unless all is healthy."""
    with stack_errors():
        seen = read_status(chosen_data_dir(data_dir))
    if json:
        print(seen.to_json())
    else:
        print_text(Text(f"{seen.state} in {seen.data_dir}"))
        if seen.processes:
            print_table(
                [
                    Column("process"),
                    Column("state"),
                    Column("address"),
                    Column("pid", number=True),
                    Column("restarts", number=True),
                    Column("since"),
                    Column("detail"),
                ],
                [
                    (
                        each.name,
                        Text(each.state, style=_STYLES.get(each.state, "red")),
                        each.address or "",
                        str(each.pid or ""),
                        str(each.restarts),
                        each.since,
                        each.detail or "",
                    )
                    for each in seen.processes
                ],
            )
    if next_command := _NEXT.get(seen.state):
        say(f"Next: `{next_command}{data_dir_words(data_dir)}`.")
    if seen.state is not StackState.HEALTHY:
        raise typer.Exit(ExitCode.NEGATIVE)
