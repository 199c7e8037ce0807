"""`liftos context`: facts for a language model, and where they come from."""

import json

from tests.e2e.cli.command_line import CommandLine


def test_facts_are_printed_within_the_budget_and_cited(stack: CommandLine) -> None:
    """The text alone goes to stdout, and what does not fit is counted."""
    for number in range(3):
        text = f"The garden shop number {number} opens in May."
        put = ("notes", "put", f"n{number}", "--scope", "shops", "--text", text)
        assert stack.liftos(*put, "--org", "context").exit_code == 0
    ask = ("context", "When do the garden shops open?", "--org", "context")
    until = 60
    while not (found := json.loads(stack.liftos(*ask, "--json").stdout))["citations"][2:]:
        until -= 1
        assert until
    told = stack.liftos(*ask)
    assert told.stdout == found["text"]
    assert "number 2 opens in May" in told.stdout
    assert {"[1]", "[2]", "[3]"} == {line.split()[0] for line in told.stderr.splitlines()}
    assert f"[1] {found['citations'][0]['record']}" in told.stderr
    budget = str(found["token_count"] - 1)
    less = stack.liftos(*ask, "--budget", budget)
    assert "1 fact did not fit" in less.stderr
    refused = stack.liftos(*ask, "--budget", "5")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--budget" in refused.stderr
