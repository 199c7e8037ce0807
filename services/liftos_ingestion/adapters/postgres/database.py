"""Ingestion's Postgres: its schema, and words that it keeps as numbers."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from liftos_ingestion.run_ports import OBJECTS
from liftos_mapping.entry_fields import DATE_BASES, LEVELS

SCHEMA: Final = "ingestion"
SCHEMA_VERSION: Final = 3
"""The schema that this code needs; servers and workers refuse to start on an older one."""

_LEVELS: Final = (OBJECTS, *LEVELS)
_BASES: Final = ("", *DATE_BASES)


def schema_files() -> Traversable:
    """Return the directory of Ingestion's schema files."""
    return files("liftos_ingestion") / "sql" / "schema"


def level_code(level: str) -> int:
    """Return the number of a level in the contract; 0 for `OBJECTS`."""
    return _LEVELS.index(level)


def level_word(code: int) -> str:
    """Return the level of a number."""
    return _LEVELS[code]


def basis_code(date_basis: str) -> int:
    """Return the number of a date basis in the contract; 0 for none."""
    return _BASES.index(date_basis)


def basis_word(code: int) -> str:
    """Return the date basis of a number."""
    return _BASES[code]
