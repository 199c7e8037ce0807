"""docs/sources.md, executed: its files, its commands, and sources that answer as it says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cli.command_line import CommandLine

from liftos_ingestion.domain.failures import ErrorClass
from liftos_ingestion.testing.fake_platform import FakeAnswer, FakePlatform, FakeRequest

_PAGE = (Path(__file__).parents[3] / "docs" / "sources.md").read_text()
_FILES = {
    text.partition("\n")[0].removeprefix("# "): text
    for text in re.findall(r"^```yaml\n(.*?)^```$", _PAGE, re.DOTALL | re.MULTILINE)
}
_SCRIPTS = re.findall(r"^```sh\n(.*?)^```$", _PAGE, re.DOTALL | re.MULTILINE)
_ROWS: list[dict[str, Any]] = [
    {"day": f"2026-03-0{2 + n % 2}", "campaign": {"id": f"c{n}", "name": f"Spring {n}"}}
    | {"views": 1_000 + n, "clicks": n, "cost": 1_250 + n}
    for n in range(5)
]


def _answer(request: FakeRequest) -> object:
    """Answer as the API of the page, two rows a page."""
    if request.headers.get("authorization") != "Bearer acme-secret":
        return FakeAnswer(400, {"error": {"code": "EXPIRED"}})
    assert request.path == "/v2/accounts/17/daily"
    begin, end = request.query["from"], request.query["until"]
    rows = [row for row in _ROWS if begin.replace("-", "") <= _compact(row) <= end]
    start = int(request.query.get("after", 0))
    more = {"next": str(start + 2)} if start + 2 < len(rows) else {}
    return {"data": {"rows": rows[start : start + 2], **more}}


def _compact(row: dict[str, Any]) -> str:
    return str(row["day"]).replace("-", "")


def _stored(stack: CommandLine, platform: str) -> list[dict[str, Any]]:
    outcome = stack.liftos("entries", "list", "--filter", f'platform = "{platform}"', "--json")
    assert outcome.exit_code == 0, outcome.stderr
    entries: list[dict[str, Any]] = json.loads(outcome.stdout)["entries"]
    return entries


def test_the_page_does_what_it_says(stack: CommandLine) -> None:
    """One YAML file each makes an API and files into sources, whose rows end up as entries."""
    assert sorted(_FILES) == ["acme_ads.yaml", "till.yaml"]
    with FakePlatform(_answer) as platform:
        for name, text in _FILES.items():
            local = text.replace("https://api.acme.example", platform.url)
            (stack.folder / name).write_text(local)
        preview, *others = _SCRIPTS
        shown = stack.script(preview)
        assert shown.exit_code == 0, shown.stderr
        assert "12.50" in shown.stdout
        for script in others:
            outcome = stack.script(script)
            assert outcome.exit_code == 0, f"{outcome.stdout}\n{outcome.stderr}"
        kept = stack.liftos("sources", "get", "acme_ads", "--yaml").stdout
        before = stack.liftos("sources", "get", "acme_ads", "--json").stdout
        again = stack.liftos("sources", "upsert", "-", stdin=kept)
        assert again.exit_code == 0, again.stderr
        after = stack.liftos("sources", "get", "acme_ads", "--json").stdout
    changing = {"etag", "update_time"}
    was, is_ = (
        {k: v for k, v in json.loads(it).items() if k not in changing} for it in (before, after)
    )
    assert was == is_
    assert sorted(
        (it["date"], it["campaign_id"], it["campaign_name"], it["metrics"])
        for it in _stored(stack, "acme_ads")
    ) == sorted(
        (
            row["day"],
            row["campaign"]["id"],
            row["campaign"]["name"],
            {
                "currency_code": "EUR",
                "spend_micros": str(row["cost"] * 10_000),
                "impressions": str(row["views"]),
                "clicks": str(row["clicks"]),
            },
        )
        for row in _ROWS
    )
    assert sorted(
        (it["breakdown_key"], it["metrics"]["orders"], it["metrics"]["revenue_micros"])
        for it in _stored(stack, "till")
    ) == [("country=DE", "2", "11000000"), ("country=FR", "1", "7000000")]


@pytest.mark.parametrize(
    ("change", "line", "told"),
    [
        (("path: /accounts", "pth: /accounts"), 12, "definition.reads[0].pth: is not known; there"),
        (("{account}", "{acount}"), 12, "definition.reads[0].path: has {acount}; there are {acc"),
        (("spend_micros", "spent"), 29, "mapping.columns.spent: is no column of an entry; there"),
        (("unit: cents", "unit: pence"), 29, "mapping.columns.spend_micros.unit: must be one of"),
        (("Europe/Berlin", "Berlin"), 9, "definition.accounts[0].time_zone: 'Berlin' is not"),
        (("name: acme_ads", "name: Acme"), 2, "name: must look like"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_by_line(
    stack: CommandLine, change: tuple[str, str], line: int, told: str
) -> None:
    """By the server's own rules, at the line of the part that breaks them."""
    wrong = _FILES["acme_ads.yaml"].replace(*change, 1)
    (stack.folder / "wrong.yaml").write_text(wrong)
    outcome = stack.liftos("sources", "upsert", "wrong.yaml", "--org", "wrong")
    assert outcome.exit_code == 4
    assert f"wrong.yaml:{line}: {told}" in outcome.stderr
    assert "acme_ads" not in stack.liftos("sources", "list", "--org", "wrong").stdout


def test_every_class_of_errors_is_named() -> None:
    """The page lists what `class` can be."""
    (line,) = [it for it in _PAGE.splitlines() if it.startswith("| `errors` |")]
    assert re.findall(r"`([A-Z_]+)`", line) == list(ErrorClass)
