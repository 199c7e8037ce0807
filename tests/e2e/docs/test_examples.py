"""The shell examples of the pages for operators and API users, each page as one script."""

import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.cli.command_line import CommandLine, Outcome, command_line

_PORTS = {8003: "memory", 9003: "memory-metrics", 9103: "memory-worker-metrics"}
_DOCS = Path(__file__).parents[3] / "docs"
_START = "liftos up --detach\n"
_STOP = "liftos down\n"


def _script(page: str) -> str:
    text = (_DOCS / page).read_text()
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert script.startswith(_START)
    assert script.endswith(_STOP)
    return script


def _on_free_ports(script: str) -> str:
    """The script of a page, without the documented ports, which may be taken here."""
    script = script.replace("liftos up --detach", "liftos up --detach --ports auto")
    for port, name in _PORTS.items():
        read = f'"$(grep -oP \'"{name}": \\K[0-9]+\' "$LIFTOS_DATA_DIR/run/ports.json")"'
        script = script.replace(f"localhost:{port}", f"localhost:{read}")
    return script


def _line(folder: Path) -> CommandLine:
    """A command line with a data directory of its own and the tools that pages use."""
    made = command_line(folder / "work", folder / "data")
    scripts = sysconfig.get_path("scripts")
    environment = {**made.environment, "PATH": f"{made.environment['PATH']}:{scripts}"}
    return CommandLine(made.folder, environment)


def _check(outcome: Outcome) -> None:
    assert outcome.exit_code == 0, f"{outcome.stdout[-3000:]}\n{outcome.stderr[-3000:]}"
    assert "itemErrors" not in outcome.stdout


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A command line over a running stack."""
    line = _line(tmp_path_factory.mktemp("pages"))
    _check(line.script(_on_free_ports(_START)))
    yield line
    _check(line.script(_STOP))


@pytest.mark.parametrize(
    "page",
    [
        "memory.md",
        "search.md",
        "causal_export.md",
        "insights.md",
        "operations.md",
        "runbooks/drain.md",
        "runbooks/store-outage.md",
    ],
)
def test_every_example_of_a_page_works(running: CommandLine, page: str) -> None:
    """All commands end with 0, in their order; the stack runs already, with data of other orgs."""
    org = re.sub(r"\W|_", "-", page.removesuffix(".md"))
    script = _script(page).removeprefix(_START).removesuffix(_STOP)
    script = script.replace("orgs/demo", f"orgs/{org}").replace("--org demo", f"--org {org}")
    _check(running.script(f"export LIFTOS_ORG={org}\n{_on_free_ports(script)}"))


def test_every_example_of_a_page_that_starts_and_stops_works(tmp_path: Path) -> None:
    """The page as it stands; nothing is left running."""
    line = _line(tmp_path)
    outcome = line.script(_on_free_ports(_script("runbooks/search-index.md")))
    if outcome.exit_code:
        line.liftos("down")
    _check(outcome)
