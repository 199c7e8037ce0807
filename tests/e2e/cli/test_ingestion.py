"""Reading a simulated platform from the command line: connect, run, watch, look at what came."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.e2e.cli.command_line import CommandLine, Outcome

from liftos_platforms.truth import Platform
from liftos_platforms.worlds import token_of

_ORG = ("--org", "reads")
_CONNECTION = "meta-main"


def credential(token: str) -> str:
    """Return the text of a credential file."""
    return json.dumps({"access_token": token})


@pytest.fixture(scope="module")
def day() -> str:
    """A day of which no number changes any more."""
    return (datetime.now(UTC) - timedelta(days=120)).date().isoformat()


@pytest.fixture(scope="module")
def connection(stack: CommandLine) -> Outcome:
    """The answer to the creation of a connection with the token of the simulated Meta."""
    outcome = stack.liftos(
        *("connections", "create", _CONNECTION, "--platform", "meta", "--name", "Meta"),
        *("--credential-file", "-", "--json", *_ORG),
        stdin=credential(token_of(7, Platform.META)),
    )
    assert outcome.exit_code == 0, outcome.stderr
    return outcome


@pytest.fixture(scope="module")
def run_id(stack: CommandLine, connection: Outcome, day: str) -> str:
    """A run that was watched to its end."""
    outcome = stack.liftos(
        *("runs", "start", _CONNECTION, "--from", day, "--to", day, "--account", "1001"),
        *("--level", "account", "--level", "campaign", "--watch", "--json", *_ORG),
    )
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    answers = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert answers[-1]["state"] == "RUN_STATE_SUCCEEDED"
    # Two levels, and the objects of the account.
    assert answers[-1]["progress"] == {"total_count": "3", "succeeded_count": "3"}
    name: str = answers[-1]["name"]
    return name.rpartition("/")[2]


def test_a_connection_knows_its_accounts_and_shows_no_secret(
    stack: CommandLine, connection: Outcome
) -> None:
    """The platform was asked; the token is nowhere in what is printed."""
    made = json.loads(connection.stdout)
    assert made["state"] == "CONNECTION_STATE_ACTIVE"
    assert {account["account_id"] for account in made["accounts"]} >= {"1001", "1002"}
    shown = stack.liftos("connections", "get", _CONNECTION, *_ORG)
    listed = stack.liftos("connections", "list", *_ORG)
    assert f"{_CONNECTION}  Meta  meta      ACTIVE" in listed.stdout
    for outcome in (connection, shown, listed):
        assert token_of(7, Platform.META) not in outcome.stdout + outcome.stderr


def test_a_run_is_listed_with_its_slices_and_sums(
    stack: CommandLine, run_id: str, day: str
) -> None:
    """Each slice was committed, and each sum equals the platform's own."""
    runs = stack.liftos("runs", "list", "--filter", 'state = "SUCCEEDED"', *_ORG)
    assert f"{run_id}  INCREMENTAL  {_CONNECTION}" in runs.stdout
    told = stack.liftos("runs", "slices", run_id, "--filter", "kind = ROWS", "--json", *_ORG)
    slices = json.loads(told.stdout)["slices"]
    assert [(each["level"], each["state"]) for each in slices] == [
        ("ENTRY_LEVEL_ACCOUNT", "RUN_SLICE_STATE_COMMITTED"),
        ("ENTRY_LEVEL_CAMPAIGN", "RUN_SLICE_STATE_COMMITTED"),
    ]
    sums = json.loads(stack.liftos("runs", "reconciliations", run_id, "--json", *_ORG).stdout)
    assert {each["state"] for each in sums["reconciliations"]} == {"RECONCILIATION_STATE_MATCHED"}
    mismatched = stack.liftos("runs", "reconciliations", run_id, "--mismatched", *_ORG)
    assert (mismatched.exit_code, mismatched.stdout) == (0, "")
    entries = stack.liftos("entries", "list", "--filter", f'date = "{day}"', "--json", *_ORG)
    campaigns = [
        entry
        for entry in json.loads(entries.stdout)["entries"]
        if entry["level"] == "ENTRY_LEVEL_CAMPAIGN"
    ]
    assert len(campaigns) == int(slices[1]["row_count"])


def test_the_objects_of_an_account_are_listed(stack: CommandLine, run_id: str) -> None:
    """With names and states, narrowed by level and by filter."""
    slices = stack.liftos("runs", "slices", run_id, "--filter", "kind = OBJECTS", *_ORG)
    assert "1001     OBJECTS" in slices.stdout
    which = ("connections", "objects", "--platform", "meta", "--account", "1001", *_ORG, "--limit")
    objects = json.loads(stack.liftos(*which, "5000", "--json").stdout)["objects"]
    assert all(it["display_name"] and it["state"] for it in objects)
    told = stack.liftos(*which, "5000", "--level", "campaign", "--level", "ad", "--json")
    chosen = json.loads(told.stdout)["objects"]
    assert {it["level"] for it in chosen} == {"ENTRY_LEVEL_CAMPAIGN", "ENTRY_LEVEL_AD"}
    assert 0 < len(chosen) < len(objects)
    table = stack.liftos(*which, "1", "--filter", 'state = "ACTIVE"')
    assert table.stdout.splitlines()[0].split() == [
        *("platform", "account", "level", "id", "name", "state", "of", "changed"),
    ]
    assert "ACTIVE" in table.stdout.splitlines()[1]


def test_a_run_that_has_ended_says_how_each_account_went(stack: CommandLine, run_id: str) -> None:
    """A watch of it ends at once, and cancelling it is refused with its state."""
    watched = stack.liftos("runs", "watch", run_id, *_ORG)
    assert watched.exit_code == 0
    assert watched.stdout.startswith(f"{run_id}: SUCCEEDED, 3 of 3 slices, ")
    assert "1001     OK       3 of 3" in watched.stdout
    cancelled = stack.liftos("runs", "cancel", run_id, *_ORG)
    assert cancelled.exit_code == 4
    assert "is SUCCEEDED" in cancelled.stderr


def test_a_closed_account_fails_openly(stack: CommandLine, connection: Outcome, day: str) -> None:
    """The exit code is 1, and the account is named with what to do."""
    outcome = stack.liftos(
        *("runs", "start", _CONNECTION, "--from", day, "--to", day, "--account", "1006"),
        *("--level", "account", "--watch", *_ORG),
    )
    assert outcome.exit_code == 1
    assert "1006     ACCOUNT_CLOSED" in outcome.stdout


def test_a_refused_token_is_told_and_not_shown(stack: CommandLine) -> None:
    """From stdin, from a variable, and typed by mistake in place of a file."""
    arguments = ("connections", "create", "bad", "--platform", "meta", "--name", "Bad", *_ORG)
    secret = "EAABnevershown"
    refused = stack.liftos(*arguments, "--credential", "-", stdin=credential(secret))
    from_variable = stack.liftos(*arguments, "--credential-env", "BAD_", BAD_ACCESS_TOKEN=secret)
    typed = stack.liftos(*arguments, "--credential-file", secret)
    assert [each.exit_code for each in (refused, from_variable, typed)] == [4, 4, 2]
    assert "refuses the credentials" in refused.stderr
    assert "What to do: " in refused.stderr
    for outcome in (refused, from_variable, typed):
        assert secret not in outcome.stdout + outcome.stderr


def test_a_credential_that_no_longer_works_is_replaced(stack: CommandLine) -> None:
    """set-credential keeps what is refused and says so; rotate-credential puts it right."""
    token = token_of(7, Platform.META)
    create = ("connections", "create", "rotated", "--platform", "meta", "--name", "Rotated")
    made = stack.liftos(*create, "--credential-file", "-", *_ORG, stdin=credential(token))
    assert made.exit_code == 0, made.stderr
    arguments = ("rotated", "--credential-file", "-", *_ORG)
    wrong = stack.liftos("connections", "set-credential", *arguments, stdin=credential("EAABno"))
    assert (wrong.exit_code, wrong.stdout.split(",")[1]) == (1, " REJECTED")
    assert stack.liftos("connections", "verify", "rotated", *_ORG).exit_code == 1
    right = stack.liftos("connections", "rotate-credential", *arguments, stdin=credential(token))
    assert (right.exit_code, right.stdout.split(",")[1]) == (0, " ACTIVE")
    kept = stack.liftos("connections", "delete", "rotated", *_ORG)
    assert kept.exit_code == 2
    assert "--yes" in kept.stderr
    assert stack.liftos("connections", "delete", "rotated", "--yes", *_ORG).exit_code == 0


def test_what_is_named_is_changed_and_the_rest_is_left(stack: CommandLine) -> None:
    """A schedule keeps all that an update does not name."""
    stack.liftos("connections", "create", "idle", "--platform", "meta", "--name", "Idle", *_ORG)
    create = ("schedules", "create", "daily", "--connection", "idle", "--name", "Daily")
    made = stack.liftos(*create, "--cron", "15 6 * * *", "--level", "ad", *_ORG)
    assert made.exit_code == 0, made.stderr
    assert stack.liftos("schedules", "pause", "daily", *_ORG).stdout == "daily: Daily, paused.\n"
    stack.liftos("schedules", "update", "daily", "--cron", "45 5 * * *", *_ORG)
    stored = json.loads(stack.liftos("schedules", "get", "daily", "--json", *_ORG).stdout)
    assert (stored["cron"], stored["levels"], stored["paused"]) == (
        "45 5 * * *",
        ["ENTRY_LEVEL_AD"],
        True,
    )
    wrong = stack.liftos("schedules", "update", "daily", "--cron", "99 6 * * *", *_ORG)
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("Error: --cron: ")
    assert stack.liftos("schedules", "update", "daily", *_ORG).exit_code == 2


def test_memory_at_the_address_of_ingestion_is_told(stack: CommandLine) -> None:
    """A command that reached another service names the option."""
    addresses = json.loads(stack.liftos("status", "--json").stdout)["addresses"]
    token = stack.liftos("token", "--org", "demo", "--role", "admin").stdout.strip()
    outcome = stack.liftos("runs", "list", "--target", addresses["memory"], LIFTOS_TOKEN=token)
    assert outcome.exit_code == 4
    assert "Ingestion's own address with --target" in outcome.stderr
