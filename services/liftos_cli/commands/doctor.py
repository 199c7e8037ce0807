"""`liftos doctor`."""

from dataclasses import asdict

import typer
from rich.text import Text

from liftos_cli.errors import ExitCode
from liftos_cli.lazy_group import command_app
from liftos_cli.local_stack import DataDirOption, chosen_data_dir, stack_errors
from liftos_cli.options import JsonOption
from liftos_cli.output import Column, print_json, print_table
from liftos_local.doctor import doctor as examine

app = command_app()


@app.command(epilog="Example: liftos doctor")
def doctor(*, data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """Look for what is wrong with this machine. Exit code 1 where something is."""
    with stack_errors():
        findings = examine(chosen_data_dir(data_dir))
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        print_table(
            [Column("check"), Column(""), Column("found"), Column("what to do")],
            [
                (
                    finding.check,
                    Text("ok", style="green") if finding.ok else Text("wrong", style="bold red"),
                    finding.found,
                    "" if finding.ok else finding.advice,
                )
                for finding in findings
            ],
        )
    if not all(finding.ok for finding in findings):
        raise typer.Exit(ExitCode.NEGATIVE)
