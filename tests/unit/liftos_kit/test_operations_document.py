"""docs/operations.md lists the metrics that the code has."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from liftos_kit import telemetry

_ROOT = Path(__file__).parents[3]
_TYPES = {
    "create_counter": "counter",
    "create_up_down_counter": "up-down counter",
    "create_observable_up_down_counter": "up-down counter",
    "create_histogram": "histogram",
    "create_gauge": "gauge",
    "create_observable_gauge": "gauge",
    "create_observable_counter": "counter",
}


def _made(path: Path) -> Iterator[tuple[str, str, str]]:
    """Name, type and unit of every instrument that a file makes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        kind = _TYPES.get(node.func.attr)
        if kind is None:
            continue
        name = node.args[0]
        assert isinstance(name, ast.Name | ast.Attribute), f"{path} names a metric itself"
        constant = name.id if isinstance(name, ast.Name) else name.attr
        units = [each.value for each in node.keywords if each.arg == "unit"]
        assert isinstance(units[0], ast.Constant)
        yield getattr(telemetry, constant), kind, str(units[0].value)


def _documented() -> list[list[str]]:
    page = (_ROOT / "docs" / "operations.md").read_text()
    table = page.partition("<!-- begin metrics -->\n")[2].partition("<!-- end metrics -->")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    return [[cell.strip() for cell in row] for row in rows]


def test_every_metric_stands_in_the_table_with_its_type_and_unit() -> None:
    """No more and no fewer than the code makes."""
    made = {each for path in (_ROOT / "services").rglob("*.py") for each in _made(path)}
    told = [(row[0].strip("`"), row[1], row[2].strip("`")) for row in _documented()]
    assert len(told) == len(set(told))
    assert set(told) == made


def test_every_attribute_of_the_table_is_one_of_ours() -> None:
    """Attributes are named as the code names them."""
    ours = {value for value in vars(telemetry).values() if isinstance(value, str)}
    for row in _documented():
        named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", row[3])
        assert set(named) <= ours, row[0]
