"""`liftos version`."""

import json as json_format
import platform
from importlib import metadata

from liftos_cli.lazy_group import command_app
from liftos_cli.options import JsonOption

app = command_app()


@app.command(epilog="Example: liftos version")
def version(*, json: JsonOption = False) -> None:
    """Print the version of LiftOS."""
    if json:
        told = {"version": _installed(), "python": platform.python_version()}
        print(json_format.dumps(told))
    else:
        print(version_line())


def version_line() -> str:
    """Return the versions of LiftOS and of Python, in one line."""
    return f"liftos {_installed()} (Python {platform.python_version()})"


def _installed() -> str:
    try:
        return metadata.version("liftos-core")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"
