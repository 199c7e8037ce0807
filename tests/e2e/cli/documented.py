"""The examples of docs/cli.md, as the page has them."""

import re
from pathlib import Path
from typing import Final

_PAGE: Final = Path(__file__).parents[3] / "docs" / "cli.md"

EXAMPLES: Final = tuple(
    re.findall(r"^```sh\n(.*?)^```$", _PAGE.read_text(), re.DOTALL | re.MULTILINE)
)
"""All of them; the first starts the stack, the last stops it."""
