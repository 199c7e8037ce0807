"""The directory in which dumps are kept: whole ones, their restore tests, and nothing half written.

A dump is written under a hidden name and gets its own once all of it is on the disk, so that one
that was cut off never counts. What a process that died has left is deleted by the next.
"""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from liftos_kit.dumps.errors import DumpError, DumpProblem
from liftos_kit.dumps.manifest import Manifest

DATA: Final = "data"
_MANIFEST: Final = "manifest.json"
_TEST: Final = "restore-test.json"
_LOCK: Final = "lock"
_HIDDEN: Final = "."
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class RestoreTest:
    """A restore that gave what was dumped.

    Attributes:
        manifest_sha256: Digest of the manifest that it was held to, in hex.
        restore_seconds: What the restore took, without the comparison.
        compared_definitions: Whether definitions, owners, rights and policies were compared too.
        end_time: When it ended.
    """

    manifest_sha256: str
    restore_seconds: float
    compared_definitions: bool
    end_time: datetime


@dataclass(frozen=True, slots=True)
class Dump:
    """A whole dump.

    Attributes:
        folder: Where it is; its name is the id of the dump.
        manifest: What it holds.
        sha256: Digest of the manifest, in hex, and so of all.
        test: The restore test that it passed; none where it has not yet.
    """

    folder: Path
    manifest: Manifest
    sha256: str
    test: RestoreTest | None

    @property
    def id(self) -> str:
        """Its name, which sorts by time."""
        return self.folder.name


@dataclass(frozen=True, slots=True)
class Listing:
    """What a directory holds: dumps, oldest first, and the ids of those that cannot be read."""

    dumps: tuple[Dump, ...]
    damaged: tuple[str, ...]


def list_dumps(directory: Path) -> Listing:
    """Return the whole dumps of a directory; none where it does not exist."""
    dumps: list[Dump] = []
    damaged: list[str] = []
    entries = sorted(directory.iterdir()) if directory.is_dir() else []
    for entry in entries:
        if entry.name.startswith(_HIDDEN) or not entry.is_dir():
            continue
        try:
            dumps.append(read_dump(entry))
        except DumpError:
            damaged.append(entry.name)
    return Listing(tuple(dumps), tuple(damaged))


def read_dump(folder: Path) -> Dump:
    """Read one dump.

    Raises:
        DumpError: There is none, or its manifest cannot be read.
    """
    try:
        content = (folder / _MANIFEST).read_bytes()
    except OSError as error:
        raise DumpError(
            DumpProblem.DAMAGED, f"{folder} holds no dump", remedy="name one that is listed"
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    test = _read_test(folder)
    return Dump(
        folder,
        Manifest.from_json(content),
        sha256,
        test if test is not None and test.manifest_sha256 == sha256 else None,
    )


def _read_test(folder: Path) -> RestoreTest | None:
    try:
        stored = json.loads((folder / _TEST).read_bytes())
        return RestoreTest(**stored | {"end_time": datetime.fromisoformat(stored["end_time"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # it counts as untested, and is tested again


def record_test(dump: Dump, test: RestoreTest) -> Dump:
    """Keep that a dump passed its restore test; return it with that."""
    stored = asdict(test) | {"end_time": test.end_time.isoformat()}
    _write(dump.folder / _TEST, json.dumps(stored, indent=1, sort_keys=True).encode())
    return read_dump(dump.folder)


@contextmanager
def draft(directory: Path) -> Iterator[Path]:
    """Yield a folder for a dump that is being made; it goes away unless it was `finish`ed.

    Raises:
        DumpError: The directory cannot be written.
    """
    stack = ExitStack()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(directory / f"{_HIDDEN}{_LOCK}"):
            _sweep(directory)
            now = datetime.now(UTC).strftime("%Y%m%dt%H%M%S%fz")
            folder = directory / f"{_HIDDEN}{now}-{secrets.token_hex(3)}"
            folder.mkdir(mode=0o700)
            # Held for as long as this process lives, so that nobody takes it for left behind.
            stack.enter_context(_locked(folder / _LOCK))
    except OSError as error:
        raise DumpError(
            DumpProblem.NO_SPACE if error.errno in _FULL else DumpProblem.PERMISSION,
            f"{directory} cannot be written: {error.strerror}",
            remedy="make room, let this user write there, or name another directory",
        ) from error
    with stack:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def finish(folder: Path, manifest: Manifest) -> Dump:
    """Let a draft count from now on, whatever happens to the machine."""
    _write(folder / _MANIFEST, manifest.to_json())
    (folder / _LOCK).unlink()
    whole = folder.with_name(folder.name.removeprefix(_HIDDEN))
    folder.rename(whole)
    _sync(whole.parent)
    return read_dump(whole)


def delete(dump: Path) -> None:
    """Delete a dump; one that is half deleted does not count either."""
    hidden = dump.with_name(f"{_HIDDEN}{dump.name}")
    dump.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)  # the next draft deletes what is left


def _sweep(directory: Path) -> None:
    """Delete what processes that died have left: drafts, and dumps that were being deleted."""
    for entry in directory.glob(f"{_HIDDEN}*"):
        if entry.is_dir() and not _is_held(entry):
            shutil.rmtree(entry, ignore_errors=True)


def prune(directory: Path, *, keep: int) -> tuple[str, ...]:
    """Delete all but the newest tested dumps, and what is younger than the newest of them.

    Args:
        directory: Where they are.
        keep: How many tested ones stay, at least 1.

    Returns:
        Ids of those deleted, oldest first.
    """
    dumps = list_dumps(directory).dumps
    tested = [each for each in dumps if each.test is not None]
    kept = {each.id for each in tested[-keep:]}
    newest = tested[-1].id if tested else ""
    gone = [each for each in dumps if each.id not in kept and each.id < newest]
    for each in gone:
        delete(each.folder)
    return tuple(each.id for each in gone)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_held(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _write(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or none, after a loss of power too."""
    hidden = path.with_name(f"{_HIDDEN}{path.name}")
    with hidden.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    hidden.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
