"""Linux process plumbing: who dies with whom, and under which account a program runs."""

import ctypes
import os
import pwd
import shutil
import signal
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from liftos_local.errors import DataDirectoryError, MissingProgramError

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
# Number and name of the capabilities that let another account pass through closed folders,
# the lesser one first. Linux: capabilities(7).
_PASSAGE: Final = ((2, "dac_read_search"), (1, "dac_override"))
# What a child may see of our environment: enough to find programs, modules and a locale.
_INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Account:
    """The user a program runs as when we are root."""

    name: str
    uid: int
    gid: int


def inherited_environment() -> dict[str, str]:
    """Return the part of our environment that every child may see."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def become_subreaper() -> None:
    """Have orphaned descendants handed to this process instead of to init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent_pid: int, signal_number: signal.Signals) -> None:
    """Get a signal when the parent dies, even if it has died already."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal_number)


def children_of(pid: int) -> set[int]:
    """Return the direct children of a process, zombies included."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name in parentheses may hold anything; the fields start behind the last one.
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if int(fields.rpartition(")")[2].split()[1]) == pid:
            found.add(int(entry.name))
    return found


def end_orphans(known: Collection[int]) -> None:
    """Kill and reap every child of ours that nobody started: what a dead child left behind."""
    for pid in children_of(os.getpid()).difference(known):
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
        except (ProcessLookupError, ChildProcessError):
            continue


def guarded(command: tuple[str, ...], *, death_signal: str = "KILL") -> tuple[str, ...]:
    """Wrap a command so that the kernel ends it when its parent dies."""
    return (_setpriv(), "--pdeathsig", death_signal, "--", *command)


def guarded_as(
    command: tuple[str, ...], account: Account | None, *, reaches: Collection[Path]
) -> tuple[str, ...]:
    """Wrap a command as `guarded` does and run it under another account.

    Args:
        command: program and arguments.
        account: None keeps ours.
        reaches: paths the account must be able to enter. Where a folder on the way is closed
            to it (a home of mode 0700), the process keeps the one capability to pass.

    Raises:
        DataDirectoryError: a folder is closed and we have no such capability to give.
    """
    if account is None:
        return guarded(command, death_signal="QUIT")
    options = ["--pdeathsig", "QUIT", "--reuid", str(account.uid), "--regid", str(account.gid)]
    options.append("--clear-groups")
    closed = [folder for path in reaches if (folder := closed_folder(path, account))]
    if closed:
        capability = capability_to_pass()
        if capability is None:
            raise DataDirectoryError(
                closed[0],
                f"user {account.name}, who runs Postgres, may not enter it",
                advice="open it with `chmod o+x`, or choose a data directory below /var/lib",
            )
        options += ["--inh-caps", f"+{capability}", "--ambient-caps", f"+{capability}"]
    return (_setpriv(), *options, "--", *command)


def closed_folder(path: Path, account: Account) -> Path | None:
    """Return the outermost folder on the way to a path that the account may not enter."""
    for folder in (*reversed(path.parents), path):
        try:
            facts = folder.stat()
        except FileNotFoundError:
            return None
        if facts.st_uid == account.uid:
            bit = 0o100
        elif facts.st_gid == account.gid:
            bit = 0o010
        else:
            bit = 0o001
        if not facts.st_mode & bit:
            return folder
    return None


def postgres_account(postgres_folder: Path) -> Account | None:
    """Return who runs Postgres: ourselves, or as root the owner of its data or a plain user.

    Postgres refuses to run as root.
    """
    if os.geteuid() != 0:
        return None
    if postgres_folder.exists() and (owner := postgres_folder.stat().st_uid) != 0:
        entry = pwd.getpwuid(owner)
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise MissingProgramError(
        "a user for Postgres", advice="create one with `useradd --system postgres`"
    )


def capability_to_pass() -> str | None:
    """Name a capability we could give away that passes through closed folders."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = next(
        int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")
    )
    return next((name for number, name in _PASSAGE if effective >> number & 1), None)


def _setpriv() -> str:
    found = shutil.which("setpriv")
    if found is None:
        raise MissingProgramError("setpriv", advice="install util-linux")
    return found


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
