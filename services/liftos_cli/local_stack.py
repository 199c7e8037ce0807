"""What commands ask of the embedded stack of a data directory without starting anything."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from liftos_cli.errors import CommandError, ExitCode
from liftos_local.directory import DataDirectory, default_data_dir, load_secrets
from liftos_local.errors import (
    AlreadyRunningError,
    DataDirectoryError,
    LocalStackError,
    StackStartError,
)
from liftos_local.state import read_status

DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="LIFTOS_DATA_DIR",
        metavar="DIR",
        help="Where the stack keeps everything; by default the user's own.",
        show_default=False,
    ),
]


def chosen_data_dir(data_dir: Path | None) -> Path:
    """Return the data directory to use, as an absolute path."""
    return default_data_dir() if data_dir is None else data_dir.absolute()


def data_dir_words(data_dir: Path | None) -> str:
    """Return what a command needs after its name to work on the same data directory."""
    return "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir.absolute()))}"


def service_address(data_dir: Path, process_name: str) -> str | None:
    """Return where a service listens, or None where it does not run."""
    with stack_errors():
        status = read_status(data_dir)
    process = next((each for each in status.processes if each.name == process_name), None)
    return process.address if process is not None and process.pid is not None else None


def token_secret(data_dir: Path) -> str | None:
    """Return the secret that signs tokens of this stack, or None where it was never started."""
    directory = DataDirectory(data_dir)
    try:
        if not directory.secrets_file.exists():
            return None
        return load_secrets(directory).jwt_secret
    except PermissionError:
        raise CommandError(
            f"{directory.secrets_file} belongs to another user",
            advice="run as that user, or set LIFTOS_JWT_SECRET or LIFTOS_TOKEN",
        ) from None


@contextmanager
def stack_errors() -> Iterator[None]:
    """Turn errors of the stack, which say themselves what to do, into errors of a command."""
    try:
        yield
    except AlreadyRunningError as error:
        raise CommandError(
            f"LiftOS runs already in {error.data_dir}",
            advice=f"use it as it is (`liftos status{data_dir_words(error.data_dir)}`); or stop it"
            f" with `liftos down{data_dir_words(error.data_dir)}` and give this command again,"
            " which keeps its data; or give another --data-dir",
            exit_code=ExitCode.UNREACHABLE,
        ) from None
    except DataDirectoryError as error:
        raise CommandError(f"{error.data_dir}: {error.reason}", advice=error.advice) from None
    except StackStartError as error:
        raise CommandError(
            f"{error.process}: {error.reason}",
            details=error.log_tail,
            advice=f"read {error.log_file}, and ask `liftos doctor`",
            exit_code=ExitCode.UNREACHABLE,
        ) from None
    except LocalStackError as error:
        raise CommandError(str(error), exit_code=ExitCode.UNREACHABLE) from None
