"""Whether a person wants what cannot be undone."""

import sys
from typing import Annotated

import typer

from liftos_cli.errors import CommandError, ExitCode

YesOption = Annotated[bool, typer.Option("--yes", help="Delete without asking.")]


def require_consent(question: str, *, yes: bool) -> None:
    """Ask, unless it was said already.

    Args:
        question: Asked where a person can answer.
        yes: The option.

    Raises:
        CommandError: It is not wanted, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("nothing was deleted", advice="add --yes to delete it")
    if not typer.confirm(question, err=True):
        raise CommandError("nothing was deleted", exit_code=ExitCode.NEGATIVE)
