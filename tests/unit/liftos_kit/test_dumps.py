"""Parts of dumps that need no database."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.dumps import shelf
from liftos_kit.dumps.errors import DumpError, DumpProblem, program_error
from liftos_kit.dumps.manifest import DumpedFile, Manifest, TableSum
from liftos_kit.dumps.programs import without_password
from liftos_kit.dumps.restoring import with_database

MANIFEST = Manifest(
    create_time=datetime(2026, 1, 31, 2, 0, tzinfo=UTC),
    database="liftos",
    owner="liftos_owner",
    server_version=180004,
    system_identifier="7513",
    lsn="0/1A2B3C",
    schemas=("shop",),
    has_access=True,
    roles={"liftos_app": "login"},
    definitions_sha256="ab",
    tables={"shop.sales": TableSum(2, -5, 2**70)},
    files={"toc.dat": DumpedFile(3, "cd")},
    labels={"plan": "ef"},
)


@pytest.mark.parametrize(
    ("url", "shown", "password"),
    [
        ("postgresql://a:s%40cret@h:1/d", "postgresql://a@h:1/d", "s@cret"),
        ("postgresql://a@h/d?sslmode=require", "postgresql://a@h/d?sslmode=require", None),
        ("postgres://h/d?password=x&user=a", "postgres://h/d?user=a", "x"),
        ("postgresql://a%2Fb:p@[::1]:5432/d", "postgresql://a%2Fb@[::1]:5432/d", "p"),
    ],
)
def test_a_password_is_no_argument(url: str, shown: str, password: str | None) -> None:
    """Arguments of a process can be read by everybody on its machine."""
    assert without_password(url) == (shown, password)


def test_another_database_of_a_server() -> None:
    """Options of the address stay."""
    url = "postgresql://a:b@h:1/one?sslmode=require"
    assert with_database(url, "o d") == "postgresql://a:b@h:1/o%20d?sslmode=require"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("pg_dump: error: could not write: No space left on device", DumpProblem.NO_SPACE),
        ("pg_dump: error: query failed: permission denied for table x", DumpProblem.PERMISSION),
        (
            "pg_dump: error: query would be affected by row-level security policy",
            DumpProblem.PERMISSION,
        ),
        ("pg_dump: error: canceling statement due to lock timeout", DumpProblem.LOCKED),
        ("pg_restore: error: connection to server at x failed", DumpProblem.UNREACHABLE),
        ("pg_restore: error: could not execute query: type x", DumpProblem.FAILED),
    ],
)
def test_what_a_program_says_is_told_with_what_to_do(line: str, problem: DumpProblem) -> None:
    """Without the lines about what it did well."""
    told = program_error("pg_dump", ["pg_dump: reading schemas", line, "detail"])
    assert told.problem is problem
    assert told.remedy
    assert told.details == (line, "detail")


def test_a_manifest_is_read_as_it_was_written() -> None:
    """Sums beyond 64 bits too, and the same manifest has the same digest."""
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    assert MANIFEST.to_json() == replace(MANIFEST).to_json()
    assert (MANIFEST.server_major, MANIFEST.row_count, MANIFEST.size_bytes) == (18, 2, 3)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"format": 1}', b"\xff"])
def test_what_is_no_manifest_is_told(content: bytes) -> None:
    """As damage, whatever it is."""
    with pytest.raises(DumpError) as damaged:
        Manifest.from_json(content)
    assert damaged.value.problem is DumpProblem.DAMAGED


def test_a_manifest_of_a_later_version_is_told() -> None:
    """With what to do."""
    later = MANIFEST.to_json().replace(b'"format": 1', b'"format": 2')
    with pytest.raises(DumpError, match="has format 2") as damaged:
        Manifest.from_json(later)
    assert "later" in damaged.value.remedy


def test_a_draft_counts_once_it_is_finished(tmp_path: Path) -> None:
    """What was not finished is gone, and what others are making stays."""
    with shelf.draft(tmp_path) as other, shelf.draft(tmp_path) as folder:
        assert other.exists()
        (folder / shelf.DATA).mkdir()
        assert shelf.list_dumps(tmp_path).dumps == ()
        dump = shelf.finish(folder, MANIFEST)
    assert not other.exists()
    assert shelf.list_dumps(tmp_path) == shelf.Listing((dump,), ())
    assert dump.manifest == MANIFEST
    shelf.delete(dump.folder)
    assert shelf.list_dumps(tmp_path) == shelf.Listing((), ())


@given(st.binary(max_size=80))
def test_a_restore_test_that_cannot_be_read_does_not_count(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """The dump itself does."""
    directory = tmp_path_factory.mktemp("shelf")
    with shelf.draft(directory) as folder:
        dump = shelf.finish(folder, MANIFEST)
    passed = shelf.RestoreTest(dump.sha256, 1.5, True, datetime(2026, 1, 31, tzinfo=UTC))
    assert shelf.record_test(dump, passed).test == passed
    (dump.folder / "restore-test.json").write_bytes(content)
    assert shelf.read_dump(dump.folder) == dump
