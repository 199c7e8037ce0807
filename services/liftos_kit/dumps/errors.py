"""Why a dump, a restore or a comparison did not work out, and what to do about it."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final


class DumpProblem(StrEnum):
    """What went wrong; the words are stable."""

    PROGRAMS_MISSING = "PROGRAMS_MISSING"
    NO_SPACE = "NO_SPACE"
    PERMISSION = "PERMISSION"
    LOCKED = "LOCKED"
    UNREACHABLE = "UNREACHABLE"
    NOT_EMPTY = "NOT_EMPTY"
    DAMAGED = "DAMAGED"
    DIFFERENT = "DIFFERENT"
    FAILED = "FAILED"


class DumpError(Exception):
    """A dump or a restore that cannot go on.

    Attributes:
        problem: What went wrong.
        message: The same as a sentence.
        remedy: What to do.
        details: What the programs said, word for word.
    """

    def __init__(
        self, problem: DumpProblem, message: str, *, remedy: str, details: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.problem = problem
        self.message = message
        self.remedy = remedy
        self.details = tuple(details)


_KNOWN: Final = (
    (
        r"No space left on device|Disk quota exceeded|File too large",
        DumpProblem.NO_SPACE,
        "the disk is full",
        "make room, or name another directory; nothing that was half written is left",
    ),
    (
        r"affected by row-level security|permission denied|must be owner|must be superuser",
        DumpProblem.PERMISSION,
        "the role may not read or write all of it",
        "give it the right that the details name, or another role that has it",
    ),
    (
        r"lock timeout|could not obtain lock",
        DumpProblem.LOCKED,
        "somebody holds a lock on a table",
        "wait until the change of the schema that holds it has ended, and try again",
    ),
    (
        r"connection to server|server closed|terminating connection|database system is",
        DumpProblem.UNREACHABLE,
        "Postgres does not answer",
        "see that it runs and can be reached, and try again",
    ),
)


def program_error(program: str, lines: Sequence[str]) -> DumpError:
    """Return the error of a program that failed.

    Args:
        program: Its name.
        lines: What it wrote to stderr.
    """
    first = next((place for place, line in enumerate(lines) if "error:" in line), 0)
    details = tuple(lines[first:][:20])
    text = "\n".join(details)
    for pattern, problem, message, remedy in _KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            return DumpError(problem, f"{program}: {message}", remedy=remedy, details=details)
    return DumpError(
        DumpProblem.FAILED,
        f"{program} failed",
        remedy="correct what the details name, and try again",
        details=details,
    )
