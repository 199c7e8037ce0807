"""The shell examples of the pages for operators and API users, each page as one script."""

import re
import sysconfig
from pathlib import Path

import pytest
from tests.e2e.cli.command_line import CommandLine, command_line

_PORTS = {8003: "memory", 9003: "memory-metrics", 9103: "memory-worker-metrics"}
_DOCS = Path(__file__).parents[3] / "docs"


def _script(page: Path) -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE))


def _on_free_ports(script: str) -> str:
    """The script of a page, without the documented ports, which may be taken here."""
    assert script.startswith("liftos up --detach\n")
    script = script.replace("liftos up --detach", "liftos up --detach --ports auto")
    for port, name in _PORTS.items():
        read = f'"$(grep -oP \'"{name}": \\K[0-9]+\' "$LIFTOS_DATA_DIR/run/ports.json")"'
        script = script.replace(f"localhost:{port}", f"localhost:{read}")
    return script


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    """A command line with a data directory of its own and the tools that pages use."""
    made = command_line(tmp_path / "work", tmp_path / "data")
    scripts = sysconfig.get_path("scripts")
    environment = {**made.environment, "PATH": f"{made.environment['PATH']}:{scripts}"}
    return CommandLine(made.folder, environment)


@pytest.mark.parametrize(
    "name",
    [
        "memory.md",
        "search.md",
        "causal_export.md",
        "insights.md",
        "operations.md",
        "runbooks/drain.md",
        "runbooks/store-outage.md",
        "runbooks/search-index.md",
    ],
)
def test_every_example_of_a_page_works(line: CommandLine, name: str) -> None:
    """All commands of the page end with 0, in its order, and nothing is left running."""
    outcome = line.script(_on_free_ports(_script(_DOCS / name)))
    if outcome.exit_code:
        line.liftos("down")
    assert outcome.exit_code == 0, f"{outcome.stdout[-3000:]}\n{outcome.stderr[-3000:]}"
    assert "itemErrors" not in outcome.stdout
