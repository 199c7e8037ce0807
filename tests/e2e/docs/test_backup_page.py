"""The examples of the page about backups, and between them the drill: what is back and lost."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cli.command_line import CommandLine, Outcome, command_line

_PAGE = Path(__file__).parents[3] / "docs" / "backup.md"
_HEADER = "date,platform,level,account_id,campaign_id,campaign_name,currency_code,spend,impressions"


def _check(outcome: Outcome) -> Outcome:
    assert outcome.exit_code == 0, f"{outcome.stdout[-3000:]}\n{outcome.stderr[-3000:]}"
    return outcome


def _rows(line: CommandLine) -> dict[str, Any]:
    """Entries by name, as the store has them."""
    told = _check(line.liftos("entries", "list", "--limit", "1000", "--json"))
    return {entry["name"]: entry for entry in json.loads(told.stdout)["entries"]}


def _write(line: CommandLine, campaign: str, days: int) -> None:
    rows = [
        f"2026-02-{day:02d},meta,CAMPAIGN,102,{campaign},Spring {campaign},USD,{day}.5,{day * 100}"
        for day in range(1, days + 1)
    ]
    (line.folder / f"{campaign}.csv").write_text("\n".join([_HEADER, *rows]) + "\n")
    _check(line.liftos("entries", "import", f"{campaign}.csv"))


@pytest.mark.timeout(300)
def test_all_that_was_backed_up_is_back_and_the_rest_is_counted_as_lost(tmp_path: Path) -> None:
    """A data directory is destroyed; time, loss, credentials' keys and search are held to words."""
    line = command_line(tmp_path / "work", tmp_path / "data")
    making, restoring = re.findall(
        r"^```sh\n(.*?)^```$", _PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    # Ingestion has no part in it.
    automatic = "liftos up --detach --ports auto --service memory --service memory-worker"
    try:
        first, _, rest = making.partition("liftos backup create")
        _check(line.script(first.replace("liftos up --detach", automatic)))
        _write(line, "kept", 20)
        before = _rows(line)
        assert len(before) == 22
        _check(line.script(f"liftos backup create{rest}"))
        listed = json.loads(_check(line.liftos("backup", "list", "--json")).stdout)
        (backup,) = listed["backups"]
        assert backup["restore_tested"]
        assert backup["tables"]["memory.entries"] == 22
        assert listed["damaged"] == []

        _write(line, "late", 7)
        lost = _rows(line).keys() - before.keys()
        assert len(lost) == 7

        running = line.liftos("backup", "restore", "--yes")
        assert running.exit_code != 0
        assert "liftos down" in running.stderr

        down, _, rest = restoring.partition("liftos backup restore")
        _check(line.script(down))
        refused = line.liftos("backup", "restore")
        assert refused.exit_code != 0
        assert "--secrets" in refused.stderr
        began = time.monotonic()
        up, _, rest = f"liftos backup restore{rest}".partition("liftos entries list")
        _check(line.script(up.replace("liftos up --detach", automatic)))
        seconds = time.monotonic() - began
        assert seconds < 60
        assert _rows(line) == before
        assert not lost & _rows(line).keys()

        over = line.liftos("backup", "restore", "--yes")
        assert over.exit_code != 0
        _check(line.script(f"liftos entries list{rest}"))
        asked = line.liftos("backup", "restore")
        assert "--yes" in asked.stderr
        assert asked.exit_code != 0
    finally:
        line.liftos("down")
        # What this run has written down is searched for secrets.
        (line.folder / "kept-secrets.json").unlink(missing_ok=True)
