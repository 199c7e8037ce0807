"""The tree of commands: what is listed, what is loaded, and that each example can be typed."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from liftos_cli.lazy_group import LazyGroup
from liftos_cli.main import ROOT_COMMANDS, app
from liftos_kit.core.filters import parse_filter
from liftos_memory.domain.records import RECORD_FILTER_FIELDS, Collection

_HEAVY = ("grpc", "google.protobuf", "pyarrow", "pandas", "liftos_client", "liftos_local")


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every command that does something, with the words that name it."""
    if isinstance(command, LazyGroup):
        for lazy in command.lazy_commands:
            command.load(lazy.name)
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, child in command.commands.items():
        yield from leaves(child, (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_example_of_a_command_can_be_typed(path: tuple[str, ...]) -> None:
    """Each help ends with an example, and the command understands it."""
    command = COMMANDS[path]
    assert command.help
    assert command.epilog
    example = command.epilog.removeprefix("Example: ").partition("$(")[2] or command.epilog
    words = shlex.split(example.removeprefix("Example: ").rstrip(")").partition(" | ")[0])
    assert words[: 1 + len(path)] == ["liftos", *path]
    context = command.make_context(path[-1], words[1 + len(path) :])
    assert context.params


@pytest.mark.parametrize("collection", Collection)
def test_the_filter_in_the_help_of_records_is_one_of_theirs(collection: Collection) -> None:
    """Notes and artifacts have no platform; what their help shows can be asked for."""
    command = COMMANDS[collection.name.lower(), "list"]
    [shown] = [it.help for it in command.params if "--filter" in it.opts]
    example = re.search("'(.+)'", shown)
    assert example is not None
    assert parse_filter(example[1], RECORD_FILTER_FIELDS[collection]) is not None


def test_help_loads_nothing_heavy() -> None:
    """The list of commands needs neither a client nor Arrow nor the stack."""
    program = (
        "import sys\n"
        "from liftos_cli.main import app\n"
        "try:\n    app(['--help'], prog_name='liftos')\n"
        "except SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {_HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stderr == "[]\n"
    assert all(command.name in done.stdout for command in ROOT_COMMANDS)


@pytest.mark.parametrize("lazy", ROOT_COMMANDS, ids=lambda lazy: lazy.name)
def test_the_list_says_what_the_command_says(lazy: Any) -> None:
    """A summary is the beginning of the help of its command."""
    root = typer.main.get_command(app)
    assert isinstance(root, LazyGroup)
    root.load(lazy.name)
    shown = root.commands[lazy.name].help
    assert shown is not None
    assert shown.startswith(lazy.summary.rstrip("."))


def test_every_command_but_token_prints_json_where_asked() -> None:
    """As docs/cli.md says; `liftos token` prints the token alone, and `watch` is always JSON."""
    without = {
        path
        for path, command in COMMANDS.items()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert without == {("token",)}
