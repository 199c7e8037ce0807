"""What commands tell the shell, and that errors are sentences."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.e2e.cli.command_line import CommandLine, command_line


def test_a_refusal_of_the_server_is_told_with_what_to_do(stack: CommandLine) -> None:
    """A filter that cannot be read ends with 4 and shows how one looks."""
    outcome = stack.liftos("entries", "list", "--filter", "zzz = 1")
    assert outcome.exit_code == 4
    # All fields that there are, to the last one.
    assert "series_name, slice" in outcome.stderr
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("Error: ")
    assert "What to do: " in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_what_is_wrong_is_told_by_the_name_of_its_option(stack: CommandLine) -> None:
    """Every option at fault is named, with what it takes."""
    days = ("--from", "2026-13-01", "--to", "20260105")
    outcome = stack.liftos("entries", "query", *days, "--level", "campaign", "--by", "campaign")
    assert outcome.exit_code == 2
    date = "must be a date as YYYY-MM-DD, such as 2026-01-31"
    message, *details = outcome.stderr.splitlines()
    assert (message, details[0]) == (f"Error: --from: {date}.", f"  --to: {date}")
    assert details[1].startswith("  --by: must be one of platform, account_id, campaign_id, ")


def test_days_are_told_by_their_own_options(stack: CommandLine) -> None:
    """Those of the baseline are not taken for the asked ones, and a whole range is both."""
    compare = ("compare", "--level", "campaign", "--metric", "roas", "--minimum-quality", "0.5")
    days = ("--from", "2026-01-01", "--to", "2026-01-31")
    wrong = stack.liftos(*compare, *days, "--baseline-from", "2025-13-01", "--baseline-to", "x")
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("Error: --baseline-from: must be a date")
    assert "  --baseline-to: must be a date" in wrong.stderr
    overlapping = ("--baseline-from", "2026-01-31", "--baseline-to", "2026-02-01")
    outcome = stack.liftos(*compare, *days, *overlapping)
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("Error: --baseline-from and --baseline-to: must not overlap")
    turned = stack.liftos(*compare, "--from", "2026-01-31", "--to", "2026-01-01")
    assert turned.exit_code == 2
    assert turned.stderr.startswith("Error: --from and --to: --to must not be before --from.")
    empty = stack.liftos(*compare, *days, "--org", "no-numbers")
    assert empty.exit_code == 0
    assert "No numbers (2026-01-01 to 2026-01-31) are stored" in empty.stderr


def test_an_export_into_a_file_is_refused(stack: CommandLine, tmp_path: Path) -> None:
    """Before anything is asked of a server, and with what to do."""
    file = tmp_path / "panel"
    file.touch()
    days = ("--from", "2026-01-01", "--to", "2026-01-31")
    for out in (file, file / "below"):
        outcome = stack.liftos("export", "--format", "robyn", *days, "--out", str(out))
        assert outcome.exit_code == 2
        assert outcome.stderr.startswith(f"Error: cannot write to {out}: ")
        assert "What to do: name a directory" in outcome.stderr


def test_a_week_that_the_range_cuts_is_told(stack: CommandLine) -> None:
    """On stderr, so that the answer stays what it was."""
    row = '{"date":"2026-03-04","platform":"meta","level":"ACCOUNT","account_id":"1","clicks":1}'
    arguments = ("entries", "import", "-", "--format", "jsonl", "--org", "cut-weeks")
    assert stack.liftos(*arguments, stdin=row).exit_code == 0
    query = ("entries", "query", "--level", "account", "--granularity", "week", "--to")
    for last_day, told in (("2026-03-06", True), ("2026-03-08", False)):
        outcome = stack.liftos(*query, last_day, "--from", "2026-03-01", "--org", "cut-weeks")
        assert outcome.exit_code == 0
        assert ("The week from 2026-03-02 to 2026-03-08 is cut" in outcome.stderr) is told


def test_an_option_is_not_blamed_for_a_field_that_it_does_not_fill(stack: CommandLine) -> None:
    """The id of an event is its argument, and --name is what people see."""
    days = ("--from", "2026-01-01", "--to", "2026-01-02")
    outcome = stack.liftos("events", "add", "Two Words", "--name", "Sale", *days)
    assert outcome.exit_code == 4
    assert "calendar_event.name: must look like orgs/{org}/calendarEvents/" in outcome.stderr


def test_a_role_that_is_too_small_is_told(stack: CommandLine) -> None:
    """A reader may not purge."""
    token = stack.liftos("token", "--org", "demo", "--role", "reader").stdout.strip()
    outcome = stack.liftos("entries", "purge", "--origin", "x", "--yes", LIFTOS_TOKEN=token)
    assert outcome.exit_code == 4
    assert "liftos token --org ORG --role admin" in outcome.stderr


def test_a_token_of_a_foreign_issuer_is_refused(stack: CommandLine) -> None:
    """A token signed with another secret ends with 4."""
    token = stack.liftos(
        "token", "--org", "demo", "--role", "admin", LIFTOS_JWT_SECRET="s" * 40
    ).stdout.strip()
    outcome = stack.liftos("entries", "list", "--token", token)
    assert outcome.exit_code == 4
    assert token not in outcome.stderr


def test_nobody_listens(stack: CommandLine) -> None:
    """A closed port ends with 3."""
    outcome = stack.liftos(
        "entries",
        "list",
        "--target",
        "127.0.0.1:1",
        "--timeout",
        "2",
        LIFTOS_JWT_SECRET="s" * 40,
    )
    assert outcome.exit_code == 3
    assert "nothing answers at 127.0.0.1:1 " in outcome.stderr
    assert "liftos up" in outcome.stderr
    assert "--target" in outcome.stderr


def test_a_plain_server_is_not_called_with_tls(stack: CommandLine) -> None:
    """The option that is one too many is named, and gRPC logs nothing."""
    outcome = stack.liftos("entries", "list", "--tls")
    assert outcome.exit_code == 3
    assert outcome.stderr.startswith("Error: 127.0.0.1:")
    assert "takes no encrypted connections.\nWhat to do: leave --tls" in outcome.stderr


def test_the_secret_of_the_stack_signs_for_no_other_server(stack: CommandLine) -> None:
    """A server elsewhere gets no token that this stack would take."""
    outcome = stack.liftos("entries", "list", "--target", "127.0.0.1:1")
    assert outcome.exit_code == 2
    assert "there is no token for 127.0.0.1:1" in outcome.stderr


def test_without_a_stack_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    """Nothing runs: exit code 3, and the command to type."""
    line = command_line(tmp_path, tmp_path / "none")
    for words, exit_code in ((("entries", "list"), 3), (("status",), 1)):
        outcome = line.liftos(*words)
        assert outcome.exit_code == exit_code
        assert "`liftos up --detach" in outcome.stderr
    stopped = line.liftos("down", "--json")
    assert stopped.exit_code == 0
    assert json.loads(stopped.stdout) == {
        "data_dir": str(tmp_path / "none"),
        "was_running": False,
    }


def test_a_reader_who_stops_reading_is_no_error(stack: CommandLine) -> None:
    """A broken pipe is silent."""
    outcome = stack.script("liftos calendar 2020..2026 --every-day | head -n 1")
    assert outcome.exit_code == 141
    assert outcome.stdout.startswith("date ")
    assert outcome.stderr == ""


def test_ctrl_c_ends_a_watch(stack: CommandLine) -> None:
    """Ctrl-C ends with 130 and says nothing."""
    watch = stack.start("entries", "watch", "--resume", "begin", "--org", "watched")
    row = '{"date":"2026-03-01","platform":"meta","level":"ACCOUNT","account_id":"1","clicks":1}'
    arguments = ("entries", "import", "-", "--format", "jsonl", "--org", "watched")
    assert stack.liftos(*arguments, stdin=row).exit_code == 0
    assert watch.stdout is not None
    assert json.loads(watch.stdout.readline())["kind"] == "INSERTED"
    watch.send_signal(signal.SIGINT)
    _, stderr = watch.communicate(timeout=20)
    assert (watch.returncode, stderr) == (130, "")


def test_a_second_up_names_the_first(stack: CommandLine) -> None:
    """A data directory has one stack."""
    outcome = stack.liftos("up", "--detach", "--ports", "auto")
    assert outcome.exit_code == 3
    assert "liftos down" in outcome.stderr


def _up_in_the_foreground(line: CommandLine) -> subprocess.Popen[str]:
    up = line.start("up", "--ports", "auto", "--stores-only", "--json")
    assert up.stderr is not None
    while up.stderr.readline() != "Running. Ctrl-C stops it.\n":
        assert up.poll() is None
    return up


def test_up_in_the_foreground_stops_all_at_ctrl_c(tmp_path: Path) -> None:
    """After Ctrl-C nothing runs, and it ends with 0."""
    line = command_line(tmp_path, tmp_path / "data")
    up = _up_in_the_foreground(line)
    assert line.liftos("status").exit_code == 0
    up.send_signal(signal.SIGINT)
    stdout, _ = up.communicate(timeout=30)
    assert up.returncode == 0
    assert set(json.loads(stdout)["addresses"]) == {"milvus", "redis", "postgres"}
    assert json.loads(line.liftos("status", "--json").stdout)["state"] == "stopped"


@pytest.mark.parametrize(
    ("number", "said", "state"),
    [
        (signal.SIGTERM, "Somebody else stopped it.", "stopped"),
        (signal.SIGKILL, "Its supervisor was killed", "killed"),
    ],
)
def test_up_in_the_foreground_says_what_ended_it(
    tmp_path: Path, number: signal.Signals, said: str, state: str
) -> None:
    """A supervisor that was stopped and one that was killed are told apart, then and later."""
    line = command_line(tmp_path, tmp_path / "data")
    up = _up_in_the_foreground(line)
    seen = json.loads(line.liftos("status", "--json").stdout)
    os.kill(seen["supervisor_pid"], number)
    _, stderr = up.communicate(timeout=30)
    assert up.returncode == 1
    assert said in stderr
    later = line.liftos("status")
    assert later.stdout.startswith(state)
    assert "liftos up --detach" in later.stderr
