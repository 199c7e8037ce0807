"""How a command fails: one sentence, what to do about it, and an exit code."""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit code of a command says."""

    OK = 0
    """All is done."""
    NEGATIVE = 1
    """Some rows were refused, or the answer is no: not healthy, not found in the traces."""
    USAGE = 2
    """The command line, a file or the value of an option cannot be taken; nothing was done."""
    UNREACHABLE = 3
    """No server, or no answer in time."""
    REFUSED = 4
    """The server said no."""
    FAULT = 70
    """A fault of the command line itself."""
    INTERRUPTED = 130
    """Ctrl-C."""
    BROKEN_PIPE = 141
    """Whoever read the output stopped reading, as `head` does."""


class CommandError(Exception):
    """A command that cannot go on.

    Attributes:
        message: What happened, in one sentence.
        advice: What to do about it; empty where nothing can be.
        details: More lines, such as the fields at fault.
        exit_code: Told to the shell.
    """

    def __init__(
        self,
        message: str,
        *,
        advice: str = "",
        details: Sequence[str] = (),
        exit_code: ExitCode = ExitCode.USAGE,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.details = tuple(details)
        self.exit_code = exit_code
