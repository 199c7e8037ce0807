"""One stack for all tests of the command line, started and stopped as docs/cli.md says."""

from collections.abc import Iterator

import pytest
from tests.e2e.cli.command_line import CommandLine, command_line
from tests.e2e.cli.documented import EXAMPLES


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A command line whose data directory has all of LiftOS running."""
    line = command_line(tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("data") / "stack")
    started = line.script(EXAMPLES[0])
    assert started.exit_code == 0, started.stderr
    assert "memory " in started.stdout
    yield line
    stopped = line.script(EXAMPLES[-1])
    assert stopped.exit_code == 0, stopped.stderr
    assert line.liftos("status").exit_code == 1
