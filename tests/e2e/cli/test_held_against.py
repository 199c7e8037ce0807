"""What a person holds stores, slices and streams against: digests, positions, changes of notes."""

import base64
import json
from pathlib import Path
from typing import Any

from tests.e2e.cli.command_line import CommandLine
from tests.e2e.cli.test_import import campaign, write_csv


def _json(stack: CommandLine, org: str, *arguments: str) -> Any:
    outcome = stack.liftos(*arguments, "--json", "--org", org)
    assert outcome.exit_code == 0, outcome.stderr
    return json.loads(outcome.stdout)


def test_equal_stores_have_equal_digests(stack: CommandLine, tmp_path: Path) -> None:
    """A number more tells two organisations apart, and which part has it."""
    rows = [campaign("2026-02-01", f"c{number}", "5") for number in range(12)]
    same, other = write_csv(tmp_path / "a.csv", rows), tmp_path / "b.csv"
    write_csv(other, [*rows, campaign("2026-02-02", "late", "5")])
    for org, path in (("held-a", same), ("held-b", same), ("held-c", other)):
        assert stack.liftos("entries", "import", str(path), "--org", org).exit_code == 0
    digest = ("entries", "digest", "--buckets", "8")
    tables = {org: stack.liftos(*digest, "--org", org) for org in ("held-a", "held-b", "held-c")}
    assert tables["held-a"].stdout == tables["held-b"].stdout
    lines = [set(tables[org].stdout.splitlines()[1:]) for org in ("held-a", "held-c")]
    (apart,) = lines[1] - lines[0]
    narrowed = ("--bucket", apart.split()[0])
    hashes = [
        {
            (row["name"].rpartition("/")[2], row["hash"])
            for row in _json(stack, org, *digest, *narrowed)["rows"]
        }
        for org in ("held-a", "held-c")
    ]
    ((late, hash_),) = hashes[1] - hashes[0]
    shown = stack.liftos(*digest, *narrowed, "--org", "held-c")
    assert f"{late}  {base64.b64decode(hash_).hex()}" in shown.stdout
    assert late.startswith("20260202-")


def test_the_stream_of_an_import_can_be_asked_for(stack: CommandLine, tmp_path: Path) -> None:
    """By the id that the import told."""
    path = write_csv(tmp_path / "rows.csv", [campaign("2026-02-01", "c-1", "5")])
    (report,) = _json(stack, "positions", "entries", "import", str(path))["imports"]
    place = _json(stack, "positions", "entries", "position", report["stream_id"])
    assert place["last_sequence"] == "1"
    table = stack.liftos("entries", "position", report["stream_id"], "--org", "positions")
    assert base64.b64decode(place["checkpoint"]).decode() in table.stdout
    unknown = stack.liftos("entries", "position", "none", "--org", "positions")
    assert unknown.exit_code == 4
    no_slice = stack.liftos("entries", "slice", "0" * 32, "--org", "positions")
    assert no_slice.exit_code == 4
    assert "Traceback" not in unknown.stderr + no_slice.stderr


def test_notes_and_artifacts_are_followed_and_summed(stack: CommandLine, tmp_path: Path) -> None:
    """With what was there before, of one scope, and with a token to go on from."""
    put = ("put", "launch", "--scope", "planning", "--org", "followed")
    for text in ("In May.", "In June."):
        assert stack.liftos("notes", *put, "--text", text).exit_code == 0
    body = tmp_path / "body.json"
    body.write_text('{"decay": 0.6}')
    kept = stack.liftos("artifacts", *put, "--kind", "model", "--body", str(body))
    assert kept.exit_code == 0, kept.stderr
    watch = ("watch", "--resume", "begin", "--org", "followed")
    planned = ("--scope", "planning")
    changes = stack.liftos("notes", *watch, *planned, "--limit", "2")
    first, second = map(json.loads, changes.stdout.splitlines())
    assert (first["kind"], first["before"], first["after"]["text"]) == ("INSERTED", None, "In May.")
    assert (second["before"]["text"], second["after"]["text"]) == ("In May.", "In June.")
    again = ("watch", "--resume", first["resume_token"], "--org", "followed", "--limit", "1")
    assert json.loads(stack.liftos("notes", *again, *planned).stdout)["kind"] == "UPDATED"
    (change,) = stack.liftos("artifacts", *watch, "--limit", "1").stdout.splitlines()
    assert json.loads(change)["after"]["body"] == {"decay": 0.6}
    (whole,) = _json(stack, "followed", "notes", "digest")["buckets"]
    assert whole["row_count"] == "1"
    listed = _json(stack, "followed", "artifacts", "digest", "--bucket", "0")["rows"]
    assert [row["name"] for row in listed] == ["orgs/followed/artifacts/launch"]
