"""What people are told to do can be done."""

import re
import shlex
from typing import Any

import grpc
import pytest
from tests.unit.liftos_cli.test_help import COMMANDS

from liftos_cli import advice
from liftos_client.errors import LiftosError


def _texts() -> list[str]:
    found = [*advice._ADVICE.values(), *advice._TAKEN.values(), *advice._STATES.values()]
    found += [f"`{command}`" for command in (*advice._MISSING.values(), advice._PLATFORMS)]
    return [*found, advice._NO_PLATFORM]


_COMMANDS = sorted({each for text in _texts() for each in re.findall("`liftos ([^`]+)`", text)})


@pytest.mark.parametrize("line", _COMMANDS)
def test_commands_of_advice_can_be_typed(line: str) -> None:
    """Each is a command, with all that it needs."""
    number = line.replace(" N ", " 7 ").format(id="id", platform="meta", scope="memory")
    words = shlex.split(number)
    path, command = next(
        (path, command) for path, command in COMMANDS.items() if words[: len(path)] == [*path]
    )
    arguments = words[len(path) :]
    if "--help" not in arguments:
        assert command.make_context(path[-1], arguments).params is not None


def _missing(service: str) -> str:
    error: Any = LiftosError.__new__(LiftosError)
    error.reason, error.code = "RESOURCE_NOT_FOUND", grpc.StatusCode.NOT_FOUND
    error.metadata = {"resource_name": "orgs/demo/sources/weather"}
    return advice.advice_for(error, service=service, scope="memory")


def test_sources_of_memory_are_platforms() -> None:
    """Who asks Memory is not sent to Ingestion."""
    assert "`liftos platforms list`" in _missing("Memory")
    assert "`liftos sources list`" in _missing("Ingestion")
