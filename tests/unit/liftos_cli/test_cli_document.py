"""The page of the command line lists what is there."""

import re
from pathlib import Path

from liftos_memory.domain.sources import BUILT_IN_SOURCES

_PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_built_in_sources_are_those_of_memory() -> None:
    """In the order in which they are listed."""
    table = _PAGE.read_text().partition("| platform | what it is |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(BUILT_IN_SOURCES)
