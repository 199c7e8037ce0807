"""The shell examples of the pages about Memory, each page as one script."""

import re
import sysconfig
from pathlib import Path

import pytest
from tests.e2e.cli.command_line import CommandLine, command_line

_DOCS = Path(__file__).parents[3] / "docs"


def _script(page: Path) -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE))


def _on_free_ports(script: str) -> str:
    """The script of a page, without the documented ports, which may be taken here."""
    assert script.startswith("liftos up --detach\n")
    address = (
        "\"$(liftos status --json | python3 -c 'import json, sys;"
        ' print(json.load(sys.stdin)["addresses"]["memory"])\')"'
    )
    return script.replace("liftos up --detach", "liftos up --detach --ports auto", 1).replace(
        "localhost:8003", address
    )


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    """A command line with a data directory of its own and the tools that pages use."""
    made = command_line(tmp_path / "work", tmp_path / "data")
    scripts = sysconfig.get_path("scripts")
    environment = {**made.environment, "PATH": f"{made.environment['PATH']}:{scripts}"}
    return CommandLine(made.folder, environment)


@pytest.mark.parametrize("name", ["memory.md", "search.md"])
def test_every_example_of_a_page_works(line: CommandLine, name: str) -> None:
    """All commands of the page end with 0, in its order, and nothing is left running."""
    outcome = line.script(_on_free_ports(_script(_DOCS / name)))
    if outcome.exit_code:
        line.liftos("down")
    assert outcome.exit_code == 0, f"{outcome.stdout[-3000:]}\n{outcome.stderr[-3000:]}"
    assert "itemErrors" not in outcome.stdout
