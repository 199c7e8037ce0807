"""docs/mapping.md says what the code does: its tables are the code's, its examples are executed."""

import datetime as dt
import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from liftos_cli.yaml_objects import parse_yaml
from liftos_mapping import expression_functions, expressions, language
from liftos_mapping.calculation import Calculator
from liftos_mapping.engine import TransformContext, TransformResult
from liftos_mapping.expression_functions import FUNCTIONS
from liftos_mapping.expressions import Call, Operator, operands, parse_expression
from liftos_mapping.language import COLUMNS, column_keys, compile_mapping
from liftos_mapping.language_schema import MAPPING_SCHEMA
from liftos_mapping.transform import transform

PAGE = (Path(__file__).parents[3] / "docs" / "mapping.md").read_text()
EXAMPLES = re.findall(
    r"^```yaml\n(.*?)^```\n+```json\n(.*?)^```\n+becomes[^\n]*\n+```json\n(.*?)^```$",
    PAGE,
    re.DOTALL | re.MULTILINE,
)
CONTEXT = TransformContext(account_id="shop", currency_code="EUR")
HOLDS = {
    "date@1": "a day",
    "text@1": "a text",
    "text_id@1": "an id, as a text",
    "currency@1": "an ISO 4217 code",
    "decimal_to_micros@1": "an amount, kept in millionths",
    "integer@1": "a whole number from 0 on",
    "positive_real@1": "a number above 0",
    "fraction@1": "a share from 0 to 1",
}


def table(name: str) -> list[list[str]]:
    """The cells of a table of the page, without its head."""
    _, begin, after = PAGE.partition(f"<!-- begin {name} -->\n")
    assert begin, f"the page has no table {name}"
    rows = after.partition(f"<!-- end {name} -->")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]


def words(cell: str) -> list[str]:
    """What stands in a cell between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def transformed(document: Any, rows: Sequence[object]) -> TransformResult:
    """What rows become with a mapping of the page."""
    Draft202012Validator(MAPPING_SCHEMA).validate(document)
    return transform("page", rows, CONTEXT, document=document)


def told(result: TransformResult, named: Sequence[str]) -> list[dict[str, Any]]:
    """Entries with the columns that the page names, and rows that are refused."""
    entries = [
        {
            name: it.isoformat() if isinstance(it := entry[name], dt.date) else it
            for name in named
            if name in entry
        }
        for entry in result.table.to_pylist()
    ]
    refused = [
        {"refused_row": it.index, "field": it.field, "code": it.code, "message": it.message}
        for it in result.errors
    ]
    return entries + refused


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_example_becomes_what_it_says(example: tuple[str, str, str]) -> None:
    """The mapping as a person writes it; every column that it gives is in the answer."""
    mapping, rows, expected = parse_yaml(example[0]).value, *map(json.loads, example[1:])
    named = [*mapping["columns"], *(["breakdown_key"] if mapping.get("breakdowns") else [])]
    assert told(transformed(mapping, rows), named) == expected


def test_each_part_of_the_language_has_an_example() -> None:
    """Of the keys of a mapping and of a column none is left without one."""
    documents = [parse_yaml(mapping).value for mapping, _, _ in EXAMPLES]
    rules = [it for one in documents for it in one["columns"].values() if isinstance(it, dict)]
    assert {key for one in documents for key in one} == set(language.TOP_KEYS)
    assert {key for rule in rules for key in rule} == {
        key for column in COLUMNS for key in column_keys(column)
    }
    assert {rule["unit"] for rule in rules if "unit" in rule} == {"cents", "percent"}


def test_the_keys_are_those_of_the_schema() -> None:
    """Each with what the schema says of it."""
    properties = MAPPING_SCHEMA["properties"]
    assert isinstance(properties, dict)
    assert table("keys") == [
        [f"`{name}`", it["description"].rstrip(".")] for name, it in properties.items()
    ]


def test_the_columns_are_those_of_an_entry() -> None:
    """Each stands once, with what it holds and how its rule normalises it."""
    seen: list[str] = []
    for columns, holds, keys in table("columns"):
        for name in words(columns):
            (rule,) = compile_mapping("page", {"columns": {name: "x"}}).columns
            assert holds.startswith(HOLDS[rule.conversion]), name
            assert words(keys) == list(column_keys(name)[3:]), name
            seen.append(name)
    assert sorted(seen) == sorted(COLUMNS)


def shown(value: object) -> str:
    """A value as the page writes it."""
    if isinstance(value, bool) or value is None:
        return "unset" if value is None else str(value).lower()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, dt.date) else f"'{value}'"


def computed(expression: str) -> str:
    """What an expression is for the row of the page."""
    given = re.search(r"of the row `(\{.*?\})`", PAGE)
    assert given is not None
    row = json.loads(given[1])
    calculator = Calculator(lambda path: [row[path]] if path in row else None, 1)
    return shown(calculator.column(parse_expression(expression))[0])


def calls(expression: str) -> Iterator[str]:
    """The functions that an expression calls."""
    left = [parse_expression(expression)]
    while left:
        part = left.pop()
        left.extend(operands(part))
        if isinstance(part, Call):
            yield part.function


def test_every_function_is_there_with_an_example_that_holds() -> None:
    """Name, meaning and result are those of the table that expressions call."""
    rows = table("functions")
    assert [(words(name)[0], meaning) for name, meaning, _, _ in rows] == [
        (name, it.meaning) for name, it in FUNCTIONS.items()
    ]
    for name, _, example, result in rows:
        (expression,) = re.findall(r"^`(.*)`$", example)
        assert words(name)[0] in calls(expression)
        assert computed(expression) == result.strip("`"), expression


def test_every_operator_is_there_with_an_example_that_holds() -> None:
    """Whatever stands between values."""
    rows = table("operators")
    named = {word for operators, _, _, _ in rows for word in words(operators)}
    assert named == {it.value for it in Operator} | {"not"}
    for _, _, example, result in rows:
        (expression,) = re.findall(r"^`(.*)`$", example)
        assert computed(expression) == result.strip("`"), expression


def test_the_limits_are_those_of_the_code() -> None:
    """Each number of the paragraph about limits."""
    limits = PAGE.partition("**Limits.**")[2]
    numbers = [int(it.replace(",", "")) for it in re.findall(r"[0-9]+(?:,[0-9]{3})?", limits)]
    assert numbers == [
        language.MAXIMUM_CALCULATIONS,
        language.MAXIMUM_NAMES,
        language.MAXIMUM_VALUES,
        language.MAXIMUM_PATH_LENGTH,
        expressions.MAXIMUM_LENGTH,
        expressions.MAXIMUM_PARTS,
        expressions.MAXIMUM_DEPTH,
        expression_functions.MAXIMUM_TEXT_LENGTH,
        expression_functions.MAXIMUM_DIGITS,
        expression_functions.QUOTIENT_DIGITS,
    ]
