"""The module's own database."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

SCHEMA: Final = "public"
SCHEMA_VERSION: Final = 1


def schema_files() -> Traversable:
    """Return the directory of its schema files."""
    return files("liftos_causal") / "sql" / "module"
