"""Objects and texts that commands read from files: JSON, or YAML as a way to write it by hand."""

import json as json_format
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.yaml_objects import YamlError, json_number, parse_yaml
from liftos_client.errors import LiftosError

_QUOTED: Final = re.compile(r"""\[(["'])(.*?)\1\]""")
"""How a server names a field whose name is no word."""


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """The object that a file holds.

    Attributes:
        path: The file; - is stdin.
        value: The object.
        lines: Line of each of its parts, by path; none where they are not known.
    """

    path: Path
    value: dict[str, Any]
    lines: Mapping[str, int]

    def place(self, part: str) -> str:
        """Return where a part is, or would have to be: `weather.yaml:12: reads[0].path`."""
        named = _QUOTED.sub(r".\2", part)
        within = [
            line
            for known, line in self.lines.items()
            # The parts of a part come behind it.
            if named == known or (named.startswith(known) and named[len(known)] in ".[")
        ]
        line = f":{within[-1]}" if within else ""
        return f"{self.path}{line}: {part}" if part else f"{self.path}{line}"


def read_object_file(path: Path) -> ObjectFile:
    """Read the object of a file; - is stdin.

    Raises:
        CommandError: It cannot be read, or is no object.
    """
    text = read_text(path)
    lines: Mapping[str, int] = {}
    if path.suffix.lower() == ".json" or text.lstrip().startswith("{"):
        try:
            value = json_format.loads(
                text,
                object_pairs_hook=_object,
                parse_int=json_number,
                parse_float=json_number,
                parse_constant=json_number,
            )
        except ValueError as error:
            raise CommandError(f"{path} is no JSON: {error}", advice="correct the file") from None
    else:
        try:
            read = parse_yaml(text)
        except YamlError as error:
            raise CommandError(f"{path} is no YAML: {error}", advice="correct the file") from None
        value, lines = read.value, read.lines
    if not isinstance(value, dict):
        raise CommandError(
            f"{path} holds no object", advice="write it as {…} in JSON, or as `name: value` in YAML"
        )
    return ObjectFile(path, value, lines)


def read_object(path: Path) -> dict[str, Any]:
    """Return the object of a file; - is stdin.

    Raises:
        CommandError: It cannot be read, or is no object.
    """
    return read_object_file(path).value


@contextmanager
def told_in_file(file: ObjectFile, *, field: str, part: str = "") -> Iterator[None]:
    """Tell what a server finds wrong with an object by its place in the file that it came from.

    Args:
        file: The file.
        field: What the object is called in the request.
        part: What of the file it is; empty is all.
    """
    try:
        yield
    except LiftosError as error:
        if error.reason != "FIELD_INVALID" or not error.field_violations:
            raise
        lines = [
            f"{file.place(_renamed(it.field, field, part))}: {it.description}"
            for it in error.field_violations
        ]
        raise CommandError(
            lines[0],
            advice="correct the file",
            details=lines[1:],
            exit_code=ExitCode.REFUSED,
        ) from None


def read_text(path: Path) -> str:
    """Return the text of a file; - is stdin.

    Raises:
        CommandError: It cannot be read, or is not UTF-8.
    """
    try:
        return sys.stdin.read() if path == Path("-") else path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CommandError(
            f"{path} cannot be read ({reason})", advice="name a file that exists"
        ) from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8", advice="convert the file to UTF-8") from None


def _renamed(field: str, outer: str, part: str) -> str:
    """Return a field of a request as the file has it: `source.mapping.x` as `mapping.x`."""
    if field != outer and not field.startswith((f"{outer}.", f"{outer}[")):
        return field
    inner = field.removeprefix(outer).removeprefix(".")
    return f"{part}.{inner}" if part and inner else part or inner


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} stands twice; leave one of them away")
    return found
