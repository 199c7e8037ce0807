"""docs/operations.md lists the metrics and the events that the code has."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def _logged(path: Path) -> Iterator[tuple[str, str]]:
    """Event and level of every line that a file logs, or has `repeat` log."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    for node in nodes:
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "repeat"
        ):
            (named,) = [each.value for each in node.keywords if each.arg == "event"]
            assert isinstance(named, ast.Constant), f"{path} makes up an event"
            yield str(named.value), "warning"
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        logger = node.func.value
        if not isinstance(logger, ast.Name) or logger.id != "_log":
            continue
        levels = ["error" if node.func.attr == "exception" else node.func.attr]
        event = node.args[0]
        if path.name == "repeat.py":  # Named by its callers.
            continue
        if levels == ["log"]:
            event = node.args[1]
            levels = [
                name.attr.lower()
                for name in nodes
                if isinstance(name, ast.Attribute)
                and isinstance(name.value, ast.Name)
                and name.value.id == "logging"
            ]
        assert isinstance(event, ast.Constant), f"{path} makes up an event"
        yield from ((str(event.value), level) for level in levels)


def _documented(what: str) -> list[list[str]]:
    page = (_ROOT / "docs" / "operations.md").read_text()
    table = page.partition(f"<!-- begin {what} -->\n")[2].partition(f"<!-- end {what} -->")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    return [[cell.strip() for cell in row] for row in rows]


def test_every_metric_stands_in_the_table_with_its_type_and_unit() -> None:
    """No more and no fewer than the code makes."""
    made = {each for path in (_ROOT / "services").rglob("*.py") for each in _made(path)}
    told = [(row[0].strip("`"), row[1], row[2].strip("`")) for row in _documented("metrics")]
    assert len(told) == len(set(told))
    assert set(told) == made


def test_every_attribute_of_the_table_is_one_of_ours() -> None:
    """Attributes are named as the code names them."""
    ours = {value for value in vars(telemetry).values() if isinstance(value, str)}
    for row in _documented("metrics"):
        named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", row[3])
        assert set(named) <= ours, row[0]


@pytest.mark.parametrize("part", ["kit", "memory", "ingestion"])
def test_every_event_stands_in_the_table_of_its_part_with_its_levels(part: str) -> None:
    """No more and no fewer than the code of the part logs."""
    paths = (_ROOT / "services" / f"liftos_{part}").rglob("*.py")
    logged = {each for path in paths for each in _logged(path)}
    told = [
        (event, level)
        for row in _documented(f"{part} events")
        for event in re.findall(r"`([a-z_]+)`", row[0])
        for level in row[1].split(", ")
    ]
    assert len(told) == len(set(told))
    assert set(told) == logged
