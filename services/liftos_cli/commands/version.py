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
    try:
        number = metadata.version("liftos-core")
    except metadata.PackageNotFoundError:
        number = "unknown (not installed)"
    python = platform.python_version()
    if json:
        print(json_format.dumps({"version": number, "python": python}))
    else:
        print(f"liftos {number} (Python {python})")
