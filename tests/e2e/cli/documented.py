"""The examples of docs/cli.md, as the page has them."""

import re
from pathlib import Path
from typing import Final

_DOCS: Final = Path(__file__).parents[3] / "docs"
_SAME_DATA: Final = ("comparisons.md", "cache.md")
"""Pages whose examples go on with what those of the command line have stored."""


def _examples(page: str) -> list[str]:
    text = (_DOCS / page).read_text()
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


_OF_THE_COMMAND_LINE: Final = _examples("cli.md")

EXAMPLES: Final = (
    *_OF_THE_COMMAND_LINE[:-1],
    *(example for page in _SAME_DATA for example in _examples(page)),
    _OF_THE_COMMAND_LINE[-1],
)
"""All of them; the first starts the stack, the last stops it."""
