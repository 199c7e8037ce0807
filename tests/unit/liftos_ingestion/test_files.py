"""Files as a source: real files of every format, chosen by account and day, whole or refused."""

import asyncio
import bz2
import gzip
import json
import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.liftos_ingestion.own_source_parts import (
    ACCOUNTS,
    FIRST,
    LAST,
    OpenGate,
    asked,
    context,
    entries,
    pages,
    rows_of,
)

from liftos_ingestion.adapters.sources.file_patterns import PatternError, parse_pattern
from liftos_ingestion.adapters.sources.own_sources import OwnSources, check_source
from liftos_ingestion.catalog_ports import NewSource, SourceKind
from liftos_ingestion.domain.failures import ErrorClass, ReadingError
from liftos_ingestion.source_ports import Credential, PlatformAccount, PlatformSource
from liftos_mapping.engine import evaluate

MAPPING: dict[str, Any] = {
    "level": "OUTCOME",
    "date_basis": "EVENT",
    "columns": {"date": "day", "revenue_micros": "total", "orders": "orders"},
}
HEAD = "day,total,orders\n"


def source(
    folder: Path | None,
    pattern: str = "*.csv",
    *,
    mapping: Mapping[str, Any] = MAPPING,
    written: str = "csv",
    **more: Any,
) -> PlatformSource:
    """A source of files below `folder`/acme."""
    files = {"level": "OUTCOME", "pattern": pattern, "format": written}
    files |= {key: more.pop(key) for key in ("delimiter", "encoding") if key in more}
    definition = {"place": {"kind": "local"}, "files": [files], "accounts": ACCOUNTS, **more}
    built = OwnSources(folder, private_allowed=False, timeout_seconds=5)
    return built.build(NewSource("till", "Till", SourceKind.FILES, definition, mapping))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The operator's directory, with the folder of the org in it."""
    (tmp_path / "acme").mkdir()
    return tmp_path


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file of the org."""
    path = folder / "acme" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def totals(found: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """Day, revenue and orders of entries."""
    return sorted((str(it["date"]), it["revenue_micros"], it["orders"]) for it in found)


async def test_only_the_days_that_are_asked_for_are_given(folder: Path) -> None:
    """Rows of other days, other files and other orgs stay where they are."""
    write(folder, "a.csv", f"{HEAD}2026-10-31,1,1\n2026-11-01,0.10,2\n2026-11-02,3,3\n")
    write(folder, "b.csv", f'\ufeff{HEAD}2026-11-03,4,4\n2026-11-01,"5.5",5\n\n')
    write(folder, "b.txt", "no rows")
    (folder / "other").mkdir()
    (folder / "other" / "c.csv").write_text(f"{HEAD}2026-11-01,9,9\n")
    found = await entries(source(folder), asked())
    assert totals(found) == [
        ("2026-11-01", 100_000, 2),
        ("2026-11-01", 5_500_000, 5),
        ("2026-11-02", 3_000_000, 3),
    ]


async def test_the_question_is_which_files_and_days(folder: Path) -> None:
    """Other files that the pattern matches later are another answer to the same question."""
    write(folder, "a.csv", f"{HEAD}2026-11-01,1,1\n")
    before = {it.query_hash for it in await pages(source(folder), asked())}
    write(folder, "b.csv", f"{HEAD}2026-11-01,4,4\n")
    assert {it.query_hash for it in await pages(source(folder), asked())} == before
    assert [len(it) for it in before] == [64]
    for other in (
        await pages(source(folder, "a.*"), asked()),
        await pages(source(folder), asked(start=LAST)),
    ):
        assert {it.query_hash for it in other}.isdisjoint(before | {""})


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.bz2"])
async def test_json_lines_keep_numbers_exact(folder: Path, name: str) -> None:
    """More digits than a float has stay; compression is seen by the name."""
    lines = (
        '{"day": "2026-11-01", "total": 12345678901.123456, "orders": 1}\n'
        '\n{"day": "2026-11-01", "total": 0.1, "orders": 2}'
    )
    packed = {"gz": gzip.compress(lines.encode()), "bz2": bz2.compress(lines.encode())}
    write(folder, name, packed.get(name.rpartition(".")[2], lines.encode()))
    found = await entries(source(folder, "a.*", written="jsonl"), asked())
    assert totals(found) == [
        ("2026-11-01", 100_000, 2),
        ("2026-11-01", 12_345_678_901_123_456, 1),
    ]


async def test_parquet_is_read_by_its_types(folder: Path) -> None:
    """Decimals, days and nested fields come as they are, and rows can be kept as JSON."""
    table = pa.table(
        {
            "day": pa.array([FIRST, LAST, date(2026, 10, 1)]),
            "total": pa.array([Decimal("1.100000"), None, Decimal(3)], pa.decimal128(20, 6)),
            "orders": pa.array([1, 2, 3]),
            "more": pa.array([{"raw": b"x", "list": [1.5]}] * 3),
        }
    )
    pq.write_table(table, folder / "acme" / "a.parquet")
    of = source(folder, "*.parquet", written="parquet")
    assert [(it["revenue_micros"], it["orders"]) for it in await entries(of, asked())] == [
        (1_100_000, 1),
        (None, 2),
    ]
    json.dumps(rows_of(await pages(of, asked())), allow_nan=False)


async def test_paths_say_account_and_day(folder: Path) -> None:
    """With a day in the path only those files are opened, and rows need no day of their own."""
    mapping = {**MAPPING, "columns": {"revenue_micros": "t"}}
    write(folder, "shop/2026/11/01/x.csv", "t\n1\n")
    write(folder, "shop/2026/11/02/y.csv", "t\n2\n3\n")
    write(folder, "shop/2026/11/03/z.csv", "broken,\n1\n")
    write(folder, "shop/2026/13/03/z.csv", "no day")
    write(folder, "outlet/2026/11/01/x.csv", "t\n9\n")
    outlet = {"account_id": "outlet", "time_zone": "UTC", "currency_code": "EUR"}
    of = source(
        folder,
        "{account}/{date:%Y/%m/%d}/*.csv",
        mapping=mapping,
        accounts=[*ACCOUNTS, outlet],
    )
    gate = OpenGate()
    found = await pages(of, asked(), gate)
    assert [(it.context.date, [row["t"] for row in it.rows]) for it in found] == [
        (FIRST, ["1"]),
        (LAST, ["2", "3"]),
    ]
    assert len(gate.entered) == 2
    assert gate.size_bytes == 10
    other = asked(account=PlatformAccount("outlet", "", "UTC", "EUR"))
    assert [row["t"] for row in rows_of(await pages(of, other))] == ["9"]


async def test_a_field_says_whose_a_row_is(folder: Path) -> None:
    """Rows of other accounts are left out; one of unknown account is never guessed."""
    outlet = {"account_id": "outlet", "time_zone": "UTC", "currency_code": "EUR"}
    of = source(folder, accounts=[*ACCOUNTS, outlet], account_field="store")
    write(folder, "a.csv", "store,day,total,orders\nshop,2026-11-01,1,1\noutlet,2026-11-01,2,2\n")
    assert totals(await entries(of, asked())) == [("2026-11-01", 1_000_000, 1)]
    write(folder, "b.csv", "store,day,total,orders\n,2026-11-01,1,1\n")
    with pytest.raises(ReadingError, match=r"b\.csv has a row without store"):
        await pages(of, asked())


async def test_orders_are_summed_over_files_and_batches(folder: Path) -> None:
    """Commerce: one entry a day, however many files and batches its orders lie in."""
    mapping = {
        "level": "OUTCOME",
        "date_basis": "EVENT",
        "calculate": {"day": "date(at, 'iso', 'Europe/Berlin')", "one": "1", "net": "total - tax"},
        "aggregate": {"by": ["day"], "sum": ["one", "net"]},
        "columns": {"date": "day", "orders": "one", "revenue_micros": {"from": "net"}},
    }
    for name in ("a", "b"):
        rows = "".join(f"2026-11-01T{n % 22:02}:30:00Z,10.05,0.05\n" for n in range(6000))
        write(folder, f"{name}.csv", f"at,total,tax\n{rows}2026-11-01T23:30:00Z,2,1\n")
    found = await entries(source(folder, mapping=mapping), asked())
    assert totals(found) == [
        ("2026-11-01", 120_000_000_000, 12_000),
        ("2026-11-02", 2_000_000, 2),
    ]
    write(folder, "c.csv", "at,total,tax\n2026-11-01T10:00:00Z,x,1\n")
    (page,) = await pages(source(folder, mapping=mapping), asked())
    result = evaluate(source(folder, mapping=mapping).mapping, page.rows, context(page, asked()))
    assert totals(result.table.to_pylist()) == [("2026-11-02", 2_000_000, 2)]
    assert ["'x' is not a number" in it.message for it in result.errors] == [True]


async def test_the_day_of_a_path_can_be_grouped_by(folder: Path) -> None:
    """Rows without a day are grouped by that of their path."""
    mapping = {
        "aggregate": {"by": ["path_date"], "sum": ["n"]},
        "columns": {"date": "path_date", "orders": "n"},
    }
    write(folder, "2026-11-01.csv", "n\n1\n2\n")
    write(folder, "2026-11-02.csv", "n\n5\n")
    found = await entries(source(folder, "{date}.csv", mapping=mapping), asked())
    assert [(it["date"], it["orders"]) for it in found] == [(FIRST, 3), (LAST, 5)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "no line with the names"),
        ("a.csv", b"day,day\n", "the column 'day' twice"),
        ("a.csv", b"day,total\n2026-11-01\n", "line 2: has 1 cells for 2 columns"),
        ("a.csv", b'day,total\n2026-11-01,"1', "line 2: is no CSV"),
        ("a.csv", b"day,total\n2026-11-01,\xff\n", "is not written in utf-8"),
        ("a.csv", b"day\n" + b"x" * 1_000_001, "line 2: is longer than 1000000"),
        ("a.jsonl", b'{"day": "2026-11-01"}\n{"day": "2026', "line 2: is no JSON"),
        ("a.jsonl", b"[1]\n", "line 1: is no object"),
        ("a.jsonl", b"[" * 100_000, "line 1: is no JSON"),
        ("a.parquet", b"PAR1", "cannot be read as parquet"),
        ("a.parquet", b"day,total\n", "cannot be read as parquet"),
    ],
)
async def test_a_damaged_file_fails_its_days_whole(
    folder: Path, name: str, content: bytes, words: str
) -> None:
    """Half a file is never a day with less in it: the failure names the file and the line."""
    write(folder, name, content)
    with pytest.raises(ReadingError, match=words) as caught:
        await pages(source(folder, name, written=name.rpartition(".")[2]), asked())
    assert caught.value.failure.error_class is ErrorClass.INVALID_DATA


async def test_a_broken_archive_is_tried_again(folder: Path) -> None:
    """What breaks off may still be on its way."""
    write(folder, "a.csv.gz", gzip.compress(HEAD.encode() * 1000)[:-30])
    with pytest.raises(ReadingError) as caught:
        await pages(source(folder, "*.gz"), asked())
    assert caught.value.failure.error_class is ErrorClass.TRANSIENT


@pytest.mark.parametrize("change", ["append", "replace", "remove", "add"])
async def test_files_that_change_meanwhile_are_read_again(folder: Path, change: str) -> None:
    """What was read of a file that changed is not the whole of anything."""
    path = write(folder, "a.csv", HEAD + "2026-11-01,1,1\n" * 10_000)
    of = source(folder)
    async with of.open(Credential({}), {}, OpenGate()) as session:
        reading = session.read(asked(), None)
        await anext(reading)
        match change:
            case "append":
                with path.open("a") as file:
                    file.write("2026-11-01,1,1\n")
            case "replace":
                other = write(folder, "new", HEAD + "2026-11-01,2,1\n" * 10_000)
                other.replace(path)
            case "remove":
                path.unlink()
                write(folder, "z.csv", HEAD)
            case _:
                write(folder, "b.csv", HEAD)
        with pytest.raises(ReadingError, match="changed while it was read") as caught:
            async for _ in reading:
                pass
    assert caught.value.failure.error_class is ErrorClass.TRANSIENT


async def test_files_that_are_away_are_no_days_without_rows(folder: Path) -> None:
    """Nothing is replaced where there is no folder, or no file at all."""
    with pytest.raises(ReadingError, match="no file that the pattern matches"):
        await pages(source(folder), asked())
    with pytest.raises(ReadingError, match="cannot be read"):
        await pages(source(folder, "sub/*.csv"), asked())
    with pytest.raises(ReadingError, match="LIFTOS_SOURCE_FILES_DIRECTORY"):
        await pages(source(None), asked())
    write(folder, "2026-10-01.csv", HEAD)
    assert await entries(source(folder, "{date}.csv"), asked()) == []


async def test_links_do_not_lead_out_of_the_folder(folder: Path) -> None:
    """A link to a file of another org is not read, in whatever way it is written."""
    (folder / "other").mkdir()
    (folder / "other" / "secret.csv").write_text(f"{HEAD}2026-11-01,1,1\n")
    (folder / "acme" / "a.csv").symlink_to(folder / "other" / "secret.csv")
    with pytest.raises(ReadingError, match="leads out of the folder"):
        await pages(source(folder), asked())


async def test_large_files_are_read_in_little_memory(folder: Path) -> None:
    """The memory of a reading does not grow with the file."""
    write(folder, "a.csv", HEAD + "2026-11-01,12.34,1\n" * 200_000)
    of = source(folder)
    count = 0
    tracemalloc.start()
    async with of.open(Credential({}), {}, OpenGate()) as session:
        async for page in session.read(asked(), None):
            count += len(page.rows)  # type: ignore[union-attr]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 200_000
    assert peak_bytes < 20_000_000


async def test_a_reading_that_is_given_up_leaves_nothing_open(folder: Path) -> None:
    """Cancelling in the midst closes the file."""
    write(folder, "a.csv", HEAD + "2026-11-01,12.34,1\n" * 50_000)
    async with source(folder).open(Credential({}), {}, OpenGate()) as session:
        reading = session.read(asked(), None)
        await anext(reading)
        task = asyncio.ensure_future(anext(reading))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# --- Patterns ---


@pytest.mark.parametrize(
    ("pattern", "path", "said"),
    [
        ("*.csv", "a.csv", (None, None)),
        ("*.csv", "a/b.csv", None),
        ("**/*.csv", "a/b/c.csv", (None, None)),
        ("**/*.csv", "c.csv", (None, None)),
        ("a?.csv", "ab.csv", (None, None)),
        ("{account}/{date}.csv", "x/2026-11-01.csv", ("x", FIRST)),
        ("{date:%Y/%m/%d}.csv", "2026/11/01.csv", (None, FIRST)),
        ("{date:%d%m%Y}.csv", "01112026.csv", (None, FIRST)),
        ("{date}.csv", "2026-02-30.csv", None),
        ("a.csv", "axcsv", None),
        ("a+(b).csv", "a+(b).csv", (None, None)),
    ],
)
def test_patterns_match_paths(pattern: str, path: str, said: tuple[Any, Any] | None) -> None:
    """Wildcards stay within folders; days that do not exist are no days."""
    found = parse_pattern(pattern).match(path)
    assert (None if found is None else (found.account_id, found.day)) == said


@pytest.mark.parametrize(
    "pattern",
    [
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a\\b",
        "{day}.csv",
        "{date:%Y}.csv",
        "{date}{date}",
        "{account}{account}",
        "a\nb",
        "{date:%Y%m%d%H}",
        "*" * 9,
        "{date:%Y%m%m}",
    ],
)
def test_patterns_that_mean_nothing_are_refused(pattern: str) -> None:
    """No pattern leads out of the place, or has a day that is none."""
    with pytest.raises(PatternError):
        parse_pattern(pattern)


@given(st.text("ab*?/{}.:%Ymd-", max_size=20), st.text("ab/.-0123456789", max_size=20))
def test_any_pattern_is_read_or_refused(pattern: str, path: str) -> None:
    """No pattern and no path crashes."""
    try:
        parsed = parse_pattern(pattern)
    except PatternError:
        return
    parsed.match(path)
    assert pattern.startswith(parsed.folder)


# --- Definitions ---

_CORRECT: dict[str, Any] = {
    "place": {"kind": "s3", "bucket": "exports", "region": "eu-central-1"},
    "files": [{"level": "OUTCOME", "pattern": "{date}/*.csv", "format": "csv"}],
    "accounts": ACCOUNTS,
}


def problems(definition: Any, mapping: Any = MAPPING) -> dict[str, str]:
    """What is wrong, by path."""
    return {it.field: it.description for it in check_source(SourceKind.FILES, definition, mapping)}


def _wrong() -> Iterator[tuple[dict[str, Any], str]]:
    files = _CORRECT["files"][0]
    zones = [{**ACCOUNTS[0], "time_zone": "Berlin"}]
    yield {"place": {"kind": "ftp"}}, "definition.place.kind"
    yield {"place": {"kind": "s3"}}, "definition.place.bucket"
    yield {"place": {"kind": "local", "bucket": "abc"}}, "definition.place.bucket"
    yield {"place": {"kind": "s3", "bucket": "a/../b"}}, "definition.place.bucket"
    yield {"files": []}, "definition.files"
    yield {"files": [{**files, "level": "AD"}]}, "definition.files[0].level"
    yield {"files": [{**files, "pattern": "../*"}]}, "definition.files[0].pattern"
    yield {"files": [{**files, "delimiter": ";;"}]}, "definition.files[0].delimiter"
    yield {"accounts": []}, "definition.accounts"
    yield {"accounts": zones}, "definition.accounts[0].time_zone"
    yield {"accounts": ACCOUNTS * 2}, "definition.accounts[1].account_id"
    yield (
        {"accounts": [*ACCOUNTS, {**ACCOUNTS[0], "account_id": "b"}]},
        "definition.files[0].pattern",
    )
    yield {"days_per_read": 0}, "definition.days_per_read"
    yield {"path": "x"}, "definition.path"


@pytest.mark.parametrize(("change", "path"), list(_wrong()))
def test_what_is_wrong_with_a_definition_is_told(change: dict[str, Any], path: str) -> None:
    """Each violation names its field; a mapping that is wrong is told in the same breath."""
    assert problems(_CORRECT) == {}
    assert path in problems({**_CORRECT, **change})
    assert "mapping.columns" in problems({**_CORRECT, **change}, {})


def test_a_day_has_to_come_from_somewhere() -> None:
    """A mapping without a date needs it in the path, and a field for it where rows are grouped."""
    dateless = {"columns": {"orders": "n"}}
    files = [{**_CORRECT["files"][0], "pattern": "*.csv"}]
    assert problems(_CORRECT, dateless) == {}
    assert "definition.files[0].pattern" in problems({**_CORRECT, "files": files}, dateless)
    grouped = {"aggregate": {"by": ["x"], "sum": ["n"]}, "columns": {"orders": "n"}}
    assert "path_date" in problems(_CORRECT, grouped)["mapping.columns.date"]
