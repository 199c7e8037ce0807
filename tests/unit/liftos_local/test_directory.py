"""The data directory: what it refuses, what it keeps, what it never shows."""

import json
import os
import stat
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftos_local.directory import (
    DataDirectory,
    default_data_dir,
    is_locked,
    load_secrets,
    log_tail,
    prepare,
    try_lock,
    write_atomically,
)


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    """A second read gives the same secrets, of which no two are equal and none is shown."""
    directory = prepare(tmp_path / "data")
    made = load_secrets(directory)
    assert load_secrets(directory) == made
    stored = json.loads(directory.secrets_file.read_text())
    assert len(set(stored.values())) == len(stored) == len(fields(made))
    assert not [value for value in stored.values() if value in repr(made)]
    assert stat.S_IMODE(directory.secrets_file.stat().st_mode) == 0o600


def test_a_directory_of_an_earlier_version_gets_what_is_new(tmp_path: Path) -> None:
    """A secret that the file does not have is made; those that it has stay as they are."""
    directory = prepare(tmp_path / "data")
    made = load_secrets(directory)
    stored = json.loads(directory.secrets_file.read_text())
    del stored["ingestion_key"]
    directory.secrets_file.write_text(json.dumps(stored))
    again = load_secrets(directory)
    assert again.ingestion_key not in ("", made.ingestion_key)
    assert replace(again, ingestion_key=made.ingestion_key) == made
    assert load_secrets(directory) == again


def test_the_lock_is_held_until_its_last_descriptor_closes(tmp_path: Path) -> None:
    """A duplicate of the descriptor, as a child process has it, keeps the lock."""
    directory = prepare(tmp_path / "data")
    assert not is_locked(directory)
    first = try_lock(directory)
    assert first is not None
    second = os.dup(first)
    os.close(first)
    assert is_locked(directory)
    assert try_lock(directory) is None
    os.close(second)
    assert not is_locked(directory)


def test_default_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`LIFTOS_DATA_DIR` wins; else root has the system's and a user their own state folder."""
    monkeypatch.setenv("LIFTOS_DATA_DIR", str(tmp_path))
    assert default_data_dir() == tmp_path
    monkeypatch.delenv("LIFTOS_DATA_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/liftos")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / "liftos"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / ".local/state/liftos"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    lines=st.lists(
        st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Z", "C"))), max_size=40
    )
)
def test_log_tail_is_the_end_of_the_log(tmp_path: Path, lines: list[str]) -> None:
    """The last 20 lines come back as they are."""
    log_file = tmp_path / "some.log"
    log_file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert log_tail(log_file) == tuple(lines[-20:])


def test_log_tail_of_a_huge_or_missing_log(tmp_path: Path) -> None:
    """Only the end of a log is read, and a log that is not there has no lines."""
    log_file = tmp_path / "some.log"
    assert log_tail(log_file) == ()
    log_file.write_text("early\n" * 10_000 + "late\n")
    assert log_tail(log_file, lines=1) == ("late",)
    assert len("".join(log_tail(log_file, lines=100_000))) < 8192


def test_replacing_a_file_leaves_no_draft(tmp_path: Path) -> None:
    """The new text is there, with the mode asked for, and nothing else."""
    path = tmp_path / "file"
    write_atomically(path, "one")
    write_atomically(path, "two", mode=0o600, durable=True)
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_paths_lie_below_the_root() -> None:
    """The layout is the documented one."""
    directory = DataDirectory(Path("/data"))
    assert directory.state_file == Path("/data/run/state.json")
    assert directory.secrets_file == Path("/data/secrets.json")
    assert directory.log_file("memory") == Path("/data/log/memory.log")
