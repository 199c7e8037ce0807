"""Whether a person wants what cannot be undone."""

import sys
from typing import Annotated

import typer

from liftos_cli.errors import CommandError, ExitCode

YesOption = Annotated[bool, typer.Option("--yes", help="Delete without asking.")]


def require_consent(
    question: str, *, yes: bool, wanted: str = "delete it", undone: str = "nothing was deleted"
) -> None:
    """Ask, unless it was said already.

    Args:
        question: Asked where a person can answer.
        yes: The option.
        wanted: What the option stands for.
        undone: What is so without it.

    Raises:
        CommandError: It is not wanted, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(undone, advice=f"add --yes to {wanted}")
    if not typer.confirm(question, err=True):
        raise CommandError(undone, exit_code=ExitCode.NEGATIVE)
