"""Ingestion's Postgres: its schema, and words that it keeps as numbers."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from liftos_mapping.entry_fields import DATE_BASES, LEVELS

SCHEMA: Final = "ingestion"
SCHEMA_VERSION: Final = 2
"""The schema that this code needs; servers and workers refuse to start on an older one."""


def schema_files() -> Traversable:
    """Return the directory of Ingestion's schema files."""
    return files("liftos_ingestion") / "sql" / "schema"


def level_code(level: str) -> int:
    """Return the number of a level in the contract."""
    return LEVELS.index(level) + 1


def level_word(code: int) -> str:
    """Return the level of a number."""
    return LEVELS[code - 1]


def basis_code(date_basis: str) -> int:
    """Return the number of a date basis in the contract."""
    return DATE_BASES.index(date_basis) + 1


def basis_word(code: int) -> str:
    """Return the date basis of a number."""
    return DATE_BASES[code - 1]
