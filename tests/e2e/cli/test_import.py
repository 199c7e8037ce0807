"""Imports into a real server: formats, refused rows, resumption."""

import csv
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv as arrow_csv
from tests.e2e.cli.command_line import CommandLine

_COLUMNS = ("date", "platform", "level", "account_id", "campaign_id", "currency_code", "spend")


def entries(stack: CommandLine, org: str) -> list[dict[str, object]]:
    """Return the entries of an organisation as the command line lists them."""
    outcome = stack.liftos("entries", "list", "--json", "--org", org)
    assert outcome.exit_code == 0, outcome.stderr
    listed: list[dict[str, object]] = json.loads(outcome.stdout)["entries"]
    return listed


def write_csv(path: Path, rows: list[tuple[str, ...]]) -> Path:
    """Write a file of campaigns."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        writer.writerows(rows)
    return path


def campaign(day: str, campaign_id: str, spend: str) -> tuple[str, ...]:
    """Return a row of a campaign."""
    return (day, "meta", "CAMPAIGN", "1", campaign_id, "USD", spend)


@pytest.mark.parametrize("file_format", ["csv", "parquet", "jsonl"])
def test_all_formats_write_the_same_entries(
    stack: CommandLine, tmp_path: Path, file_format: str
) -> None:
    """Amounts in units become exact micros, whatever the format says them in."""
    rows = [campaign("2026-02-01", "9007199254740993", "0.1"), campaign("2026-02-02", "c", "7")]
    path = tmp_path / f"rows.{file_format}"
    match file_format:
        case "csv":
            write_csv(path, rows)
        case "parquet":
            table = pa.Table.from_pylist([dict(zip(_COLUMNS, row, strict=True)) for row in rows])
            spend = pa.array([Decimal("0.1"), Decimal(7)], pa.decimal128(10, 2))
            pq.write_table(table.set_column(6, "spend", spend), path)
        case _:
            lines = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
            path.write_text(
                "\n".join(json.dumps(line | {"spend": float(str(line["spend"]))}) for line in lines)
            )
    outcome = stack.liftos("entries", "import", str(path), "--org", f"format-{file_format}")
    assert outcome.exit_code == 0, outcome.stderr
    found = entries(stack, f"format-{file_format}")
    assert [
        (entry["campaign_id"], entry["metrics"]["spend_micros"])  # type: ignore[index]
        for entry in found
    ] == [("9007199254740993", "100000"), ("c", "7000000")]


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_tables_of_dbt_ad_reporting_go_in_as_they_are(
    stack: CommandLine, tmp_path: Path, file_format: str
) -> None:
    """Its column names are read; rows of platforms that are not registered are refused by name."""
    names = ("facebook_ads", "google_ads", "apple_search_ads")
    table = pa.table(
        {
            "source_relation": pa.array([""] * 3),
            "date_day": pa.array([date(2026, 2, 1)] * 3),
            "platform": pa.array(names),
            "account_id": pa.array(["1", "2", "3"]),
            "campaign_id": pa.array(["9007199254740993", None, "c"]),
            "clicks": pa.array([3, 4, 5]),
            "spend": pa.array([Decimal("0.10"), Decimal(7), Decimal(1)], pa.decimal128(10, 2)),
            "conversions_value": pa.array([99.9, None, 1.0]),
        }
    )
    path = tmp_path / f"report.{file_format}"
    if file_format == "csv":
        arrow_csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    org = f"dbt-{file_format}"
    arguments = ("entries", "import", str(path), "--raw", "dbt", "--set", "currency_code=USD")
    outcome = stack.liftos(*arguments, "--json", "--org", org)
    assert outcome.exit_code == 1, outcome.stderr
    (refused,) = json.loads(outcome.stdout)["refused"]
    assert (refused["row"], refused["field"]) == (3, "platform")
    assert "apple_search_ads" in refused["message"]
    found = {entry["platform"]: entry for entry in entries(stack, org)}
    assert found.keys() == {"meta", "google_ads"}
    assert found["meta"]["level"] == "ENTRY_LEVEL_CAMPAIGN"
    assert found["meta"]["campaign_id"] == "9007199254740993"
    assert found["google_ads"]["level"] == "ENTRY_LEVEL_ACCOUNT"
    assert found["meta"]["metrics"] == {
        "currency_code": "USD",
        "spend_micros": "100000",
        "clicks": "3",
        "revenue_micros": "99900000",
    }


def test_a_second_import_changes_nothing(stack: CommandLine, tmp_path: Path) -> None:
    """The same file again finds all entries as they were, and tells refused rows again."""
    rows = [campaign("2026-02-01", "a", "1"), campaign("2026-02-01", "b", "-1")]
    path = write_csv(tmp_path / "twice.csv", rows)
    first = stack.liftos("entries", "import", str(path), "--json", "--org", "twice")
    before = entries(stack, "twice")
    second = stack.liftos("entries", "import", str(path), "--json", "--org", "twice")
    assert (first.exit_code, second.exit_code) == (1, 1)
    reports = [json.loads(outcome.stdout)["imports"][0] for outcome in (first, second)]
    counts = [
        (report["upserted_count"], report["unchanged_count"], report["refused_count"])
        for report in reports
    ]
    assert counts == [(1, 0, 1), (0, 1, 1)]
    assert entries(stack, "twice") == before


def test_refused_rows_are_named_by_their_place_in_the_file(
    stack: CommandLine, tmp_path: Path
) -> None:
    """Rows refused by the reader, the conversion and the server keep their numbers and order."""
    path = tmp_path / "bad.csv"
    path.write_text(
        ",".join(_COLUMNS)
        + "\n2026-02-01,meta,CAMPAIGN,1,a,USD,-1"
        + "\n2026-02-02,meta"
        + "\n2026-02-03,meta,CAMPAIGN,1,a,USD,dear"
        + "\n2026-02-04,meta,CAMPAIGN,1,a,USD,-4"
        + "\n2026-02-05,meta,CAMPAIGN,1,a,USD,5\n"
    )
    errors = tmp_path / "errors.csv"
    outcome = stack.liftos(
        "entries", "import", str(path), "--errors", str(errors), "--org", "refused"
    )
    assert outcome.exit_code == 1
    with errors.open(newline="") as stream:
        told = [(row["row"], row["field"], row["rule"]) for row in csv.DictReader(stream)]
    assert told == [
        ("1", "spend_micros", "NEGATIVE"),
        ("2", "", "COLUMN_COUNT"),
        ("3", "spend", "NOT_READABLE"),
        ("4", "spend_micros", "NEGATIVE"),
    ]
    assert [entry["date"] for entry in entries(stack, "refused")] == ["2026-02-05"]


def test_values_may_stand_between_semicolons(stack: CommandLine, tmp_path: Path) -> None:
    """The error of a file that has them names the option with which it goes in."""
    path = tmp_path / "semicolons.csv"
    path.write_text("date;platform;level;account_id;clicks\n2026-02-01;meta;ACCOUNT;1;5\n")
    arguments = ("entries", "import", str(path), "--org", "semicolons")
    refused = stack.liftos(*arguments)
    assert refused.exit_code == 2
    assert "--delimiter ';'" in refused.stderr
    assert stack.liftos(*arguments, "--delimiter", ";").exit_code == 0
    assert [entry["date"] for entry in entries(stack, "semicolons")] == ["2026-02-01"]


def test_an_import_that_was_cut_off_goes_on(stack: CommandLine, tmp_path: Path) -> None:
    """After kill -9 the same command writes what is missing, and all of it is there once."""
    path = tmp_path / "long.csv"
    # One object on a few days has few documents, so that the search worker has little to do.
    rows = [(f"2025-06-{1 + n % 20:02}", f"ad={n // 20}") for n in range(80_000)]
    path.write_text(
        "date,breakdown_key,spend\n" + "".join(f"{day},{key},1.5\n" for day, key in rows)
    )
    same = ("platform=meta", "level=CAMPAIGN", "account_id=1", "campaign_id=c", "currency_code=USD")
    constants = [word for each in same for word in ("--set", each)]
    arguments = ("entries", "import", str(path), *constants, "--org", "cut-off", "--json")
    watch = stack.start("entries", "watch", "--resume", "begin", "--limit", "1", "--org", "cut-off")
    cut_off = stack.start(*arguments)
    watch.communicate(timeout=40)
    cut_off.kill()
    cut_off.communicate()
    outcome = stack.liftos(*arguments)
    assert outcome.exit_code == 0, outcome.stderr
    report = json.loads(outcome.stdout)["imports"][0]
    assert report["resumed_row_number"] > 0
    assert report["upserted_count"] + report["resumed_row_number"] == len(rows)
    query = ("--from", "2025-06-01", "--to", "2025-06-30", "--level", "campaign", "--json")
    summed = stack.liftos(
        "entries", "query", *query, "--filter", 'breakdown_key != ""', "--org", "cut-off"
    )
    row = json.loads(summed.stdout)["rows"][0]
    assert (row["entry_count"], row["metrics"]["spend_micros"]) == ("80000", "120000000000")


def test_raw_rows_of_an_own_platform_go_in_by_its_mapping(
    stack: CommandLine, tmp_path: Path
) -> None:
    """As the mapping says; one that adds rows up is refused, since a file goes in parts."""
    org = ("--org", "own-raw")
    mapping = tmp_path / "mapping.json"
    register = ("platforms", "add", "till", "--name", "Till", "--mapping", str(mapping), *org)
    columns = {"date": "day", "account_id": "till", "orders": "n", "revenue_micros": "sum"}
    columns_of_cents = {**columns, "revenue_micros": {"from": "sum", "unit": "cents"}}
    mapping.write_text(json.dumps({"level": "OUTCOME", "columns": columns_of_cents}))
    assert stack.liftos(*register).exit_code == 0
    rows = tmp_path / "rows.jsonl"
    row = {"day": "2026-02-01", "till": "7", "n": 2, "sum": 1999}
    rows.write_text(f"{json.dumps(row)}\n{json.dumps(row | {'day': 'x'})}\n")
    arguments = ("entries", "import", str(rows), "--raw", "till", "--set", "currency_code=EUR")
    outcome = stack.liftos(*arguments, *org)
    assert (outcome.exit_code, "NOT_A_DATE" in outcome.stdout) == (1, True), outcome.stderr
    (entry,) = entries(stack, "own-raw")
    assert entry["metrics"] == {
        "currency_code": "EUR",
        "revenue_micros": "19990000",
        "orders": "2",
    }
    summed = {"by": ["day", "till"], "sum": ["n", "sum"]}
    document = {"level": "OUTCOME", "aggregate": summed, "columns": columns}
    mapping.write_text(json.dumps(document))
    assert stack.liftos(*register).exit_code == 0
    refused = stack.liftos(*arguments, *org)
    assert refused.exit_code == 2
    assert "adds rows up" in refused.stderr
    mapping.write_text(json.dumps({"columns": {"clicks": {"calculate": "hits +"}}}))
    broken = stack.liftos(*register)
    assert broken.exit_code == 4
    assert f"{mapping}: columns.clicks.calculate: " in broken.stderr


def test_columns_that_no_entry_has_stop_the_import(stack: CommandLine, tmp_path: Path) -> None:
    """An unknown column is an error of usage that says how to rename it; nothing is written."""
    path = tmp_path / "unknown.csv"
    path.write_text("date,platform,level,account_id,cost\n2026-02-01,meta,ACCOUNT,1,5\n")
    outcome = stack.liftos("entries", "import", str(path), "--org", "unknown")
    assert outcome.exit_code == 2
    assert "'cost' is no column of an entry" in outcome.stderr
    assert "--map cost=TARGET" in outcome.stderr
    assert entries(stack, "unknown") == []
