"""Command groups that import a command when it runs, and list it before that."""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import typer
from typer.core import TyperCommand, TyperGroup

_LINE_BREAK: Final = re.compile(r"(?<!\n)\n(?!\n)")


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command or a group that lives in a module which is imported on use.

    Attributes:
        name: What the user types.
        module: Has the Typer application as its attribute `app`.
        summary: Shown in the list of commands; the first sentence of the application's help.
    """

    name: str
    module: str
    summary: str


class LazyGroup(TyperGroup):
    """A group whose `lazy_commands` are listed by their summary until one is chosen."""

    lazy_commands: ClassVar[Sequence[LazyCommand]] = ()

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401  # as the base
        super().__init__(**attributes)
        for lazy in self.lazy_commands:
            self.commands[lazy.name] = TyperCommand(lazy.name, help=lazy.summary)

    def load(self, name: str) -> None:
        """Put the command itself in the place of its summary; unknown names are left alone."""
        for lazy in self.lazy_commands:
            if lazy.name == name:
                app: typer.Typer = importlib.import_module(lazy.module).app
                command = typer.main.get_command(app)
                command.name = name
                _reflow(command)
                self.commands[name] = command

    def resolve_command(
        self,
        ctx: Any,  # noqa: ANN401  # typer keeps the class to itself
        args: list[str],
    ) -> tuple[str | None, Any, list[str]]:
        """Import the command that was asked for."""
        if args:
            self.load(args[0])
        return super().resolve_command(ctx, args)


def lazy_group(*commands: LazyCommand, base: type[LazyGroup] = LazyGroup) -> type[LazyGroup]:
    """Return a class of groups with these commands, for `typer.Typer(cls=...)`."""
    return type("ChosenLazyGroup", (base,), {"lazy_commands": commands})


def command_app(
    *, summary: str | None = None, group: type[TyperGroup] | None = None
) -> typer.Typer:
    """Return an application for one command, or with a summary for a group of commands."""
    return typer.Typer(
        help=summary,
        cls=group,
        no_args_is_help=summary is not None,
        add_completion=False,
        rich_markup_mode="rich",
    )


def _reflow(command: Any) -> None:  # noqa: ANN401  # typer keeps the class to itself
    """Let the help's paragraphs fill the line; docstrings are broken where the code needs it."""
    if command.help:
        command.help = _LINE_BREAK.sub(" ", command.help)
    for child in getattr(command, "commands", {}).values():
        _reflow(child)
