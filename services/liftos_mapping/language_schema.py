"""The mapping language as JSON Schema (draft 2020-12), for documents and editors.

It is made of the tables that the compiler reads. What a schema cannot say, such as what a
calculation may use, only the compiler knows.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from liftos_mapping.entry_fields import DATE_BASES, LEVELS
from liftos_mapping.expression_functions import FUNCTIONS
from liftos_mapping.expressions import MAXIMUM_LENGTH
from liftos_mapping.language import (
    COLUMNS,
    MAXIMUM_CALCULATIONS,
    MAXIMUM_NAMES,
    MAXIMUM_PATH_LENGTH,
    MAXIMUM_VALUES,
    MONEY_UNITS,
    SHARE_UNITS,
    column_keys,
    is_money,
)

Schema: TypeAlias = dict[str, object]

_PATHS: Final[Schema] = {
    "type": "array",
    "items": {"$ref": "#/$defs/path"},
    "maxItems": MAXIMUM_NAMES,
}


def _rule(column: str) -> Schema:
    """The schema of the rule of one column."""
    keys: Mapping[str, Schema] = {
        "from": {"anyOf": [{"$ref": "#/$defs/path"}, {**_PATHS, "minItems": 1}]},
        "calculate": {"$ref": "#/$defs/expression"},
        "constant": {"type": ["string", "number"]},
        "values": {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "null"]},
            "minProperties": 1,
            "maxProperties": MAXIMUM_VALUES,
        },
        "otherwise": {"type": ["string", "number", "null"]},
        "unit": {"enum": [*(MONEY_UNITS if is_money(column) else SHARE_UNITS), None]},
        "format": {"type": ["string", "null"]},
        "time_zone": {"type": ["string", "null"]},
    }
    return {
        "anyOf": [
            {"$ref": "#/$defs/path"},
            {**_PATHS, "minItems": 1},
            {
                "type": "object",
                "properties": {key: keys[key] for key in column_keys(column)},
                "additionalProperties": False,
                "oneOf": [{"required": [key]} for key in ("from", "calculate", "constant")],
            },
        ]
    }


MAPPING_SCHEMA: Final[Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Mapping of raw rows to entries",
    "type": "object",
    "properties": {
        "level": {"enum": [*LEVELS, None], "description": "Seen from the ids where left out."},
        "date_basis": {"enum": [*DATE_BASES, None], "description": "INTERACTION if left out."},
        "calculate": {
            "type": ["object", "null"],
            "description": "Names for expressions.",
            "propertyNames": {"$ref": "#/$defs/path"},
            "additionalProperties": {"$ref": "#/$defs/expression"},
            "maxProperties": MAXIMUM_CALCULATIONS,
        },
        "aggregate": {
            "type": ["object", "null"],
            "description": "Raw rows that are one row; columns read that row.",
            "properties": {"by": {**_PATHS, "minItems": 1}, "sum": _PATHS},
            "additionalProperties": False,
        },
        "columns": {
            "type": "object",
            "description": "What each column of an entry is.",
            "properties": {column: _rule(column) for column in COLUMNS},
            "additionalProperties": False,
            "minProperties": 1,
        },
        "breakdowns": {
            "type": ["object", "null"],
            "description": "What splits an object's day: the name in its key, and a path.",
            "propertyNames": {"$ref": "#/$defs/path"},
            "additionalProperties": {"$ref": "#/$defs/path"},
            "maxProperties": MAXIMUM_NAMES,
        },
        "ignore": {
            "anyOf": [_PATHS, {"type": "null"}],
            "description": "Paths that are left out knowingly.",
        },
    },
    "required": ["columns"],
    "additionalProperties": False,
    "$defs": {
        "path": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAXIMUM_PATH_LENGTH,
            "description": "Names with dots between them, or the name of a calculation.",
        },
        "expression": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAXIMUM_LENGTH,
            "description": "Numbers, 'texts', fields, `other fields`, + - * / == != < <= > >= and "
            "or not, brackets, and functions: "
            + "; ".join(f"{name}: {it.meaning}" for name, it in FUNCTIONS.items()),
        },
    },
}
"""The language; every document that compiles is valid by it."""
