"""JSON objects that commands read from files."""

import json as json_format
from pathlib import Path
from typing import Any

from liftos_cli.errors import CommandError


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        CommandError: It cannot be read, or is no object.
    """
    try:
        value = json_format.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CommandError(
            f"{path} cannot be read ({reason})", advice="name a file that exists"
        ) from None
    except ValueError as error:
        raise CommandError(f"{path} is no JSON: {error}", advice="correct the file") from None
    if not isinstance(value, dict):
        raise CommandError(f"{path} holds no JSON object", advice="write it as {…}")
    return value
