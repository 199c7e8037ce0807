"""JSON objects and texts that commands read from files."""

import json as json_format
import sys
from pathlib import Path
from typing import Any

from liftos_cli.errors import CommandError


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file; - is stdin.

    Raises:
        CommandError: It cannot be read, or is no object.
    """
    text = read_text(path)
    try:
        value = json_format.loads(text)
    except ValueError as error:
        raise CommandError(f"{path} is no JSON: {error}", advice="correct the file") from None
    if not isinstance(value, dict):
        raise CommandError(f"{path} holds no JSON object", advice="write it as {…}")
    return value


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
