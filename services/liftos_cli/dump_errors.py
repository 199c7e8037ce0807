"""What dumps and restores say, as errors of a command."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from liftos_cli.errors import CommandError, ExitCode
from liftos_kit.dumps.errors import DumpError, DumpProblem

_CODES: Final[Mapping[DumpProblem, ExitCode]] = {
    DumpProblem.UNREACHABLE: ExitCode.UNREACHABLE,
    DumpProblem.DAMAGED: ExitCode.NEGATIVE,
    DumpProblem.DIFFERENT: ExitCode.NEGATIVE,
}


@contextmanager
def dump_errors() -> Iterator[None]:
    """Turn errors of dumps, which say themselves what to do, into errors of a command."""
    try:
        yield
    except DumpError as error:
        raise CommandError(
            error.message,
            advice=error.remedy,
            details=error.details,
            exit_code=_CODES.get(error.problem, ExitCode.REFUSED),
        ) from None
