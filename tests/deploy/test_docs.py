"""The deployment page says what the chart, the image and the compose file really do."""

from __future__ import annotations

import re

import yaml
from tests.deploy.chart import CASES, CHART_DIRECTORY, REPOSITORY
from tests.deploy.environment_keys import ENVIRONMENT_KEYS, SECRET_KEYS

PAGE = (REPOSITORY / "docs" / "deploy.md").read_text()


def environment_table() -> dict[str, str]:
    """Meaning of each key in the page's table."""
    rows = re.findall(r"^\| `(LIFTOS_[A-Z_]+)` \|[^|]*\| (.+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def test_environment_table_is_complete() -> None:
    """The table has every key that a process accepts, and marks the secret ones."""
    table = environment_table()
    assert table.keys() == ENVIRONMENT_KEYS
    assert {name for name, meaning in table.items() if meaning.endswith("; secret")} == SECRET_KEYS


def test_no_other_key_is_mentioned() -> None:
    """The prose names no key that is not in the table."""
    assert set(re.findall(r"LIFTOS_[A-Z]+(?:_[A-Z]+)*", PAGE)) <= ENVIRONMENT_KEYS


def test_ports_are_the_charts() -> None:
    """The table of ports and the defaults of the chart agree."""
    rows = re.findall(r"^\| (\w+(?: \w+)?) \| (\d+) \| (\d+) \| (\w+)", PAGE, re.MULTILINE)
    documented = {
        name.lower().replace(" ", "-"): (int(port), state == "here")
        for name, port, _, state in rows
    }
    assert all(int(metrics) == int(port) + 1000 for _, port, metrics, _ in rows)
    services = yaml.safe_load((CHART_DIRECTORY / "values.yaml").read_text())["services"]
    assert documented == {
        name: (service["port"], service["enabled"]) for name, service in services.items()
    }


def test_named_files_and_values_exist() -> None:
    """Every file, example and chart value that the page names is there."""
    for path in re.findall(r"`?(deploy/[\w./-]+[\w])", PAGE):
        assert (REPOSITORY / path).exists() or path == "deploy/docker/.env", path
    (listed,) = re.findall(r"complete examples: ([^.]+)\.", PAGE)
    assert sorted(re.findall(r"`([\w-]+)`", listed)) == list(CASES)
    values = yaml.safe_load((CHART_DIRECTORY / "values.yaml").read_text())
    dotted = re.findall(r"`((?:tls|postgres|services|schemaMigration|development)\.[\w.-]+)", PAGE)
    dotted += re.findall(r"--set ([\w.]+)=", PAGE)
    assert len(dotted) > 8
    for name in dotted:
        node = values
        for part in name.split("."):
            assert part in node, name
            node = node[part]
