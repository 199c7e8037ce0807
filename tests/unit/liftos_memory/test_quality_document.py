"""docs/quality.md says what the code does."""

import re
from pathlib import Path

import pytest

from liftos_memory.domain.quality import (
    ISSUE_KINDS,
    WEIGHTS_PERCENT,
    expected_metrics,
    issue,
    quality_of,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "quality.md"


def test_the_table_of_issues_is_the_catalogue() -> None:
    """Every kind of issue stands in the document with its part, severity, cost and meaning."""
    rows = [
        f"| `{kind.code}` | {kind.part.lower()} | {kind.severity.lower()}"
        f" | {kind.cost_permille / 1000:.2f} | {kind.meaning} |"
        for kind in ISSUE_KINDS.values()
    ]
    _, _, after = DOCUMENT.read_text().partition("<!-- begin issues -->\n")
    table, _, _ = after.partition("\n<!-- end issues -->")
    assert table.splitlines()[2:] == rows


def test_the_formula_has_the_weights() -> None:
    """The document's formula is that of the code."""
    terms = [f"{weight / 100:.2f} {part.lower()}" for part, weight in WEIGHTS_PERCENT.items()]
    assert f"score = {' + '.join(terms)}" in DOCUMENT.read_text()


def test_the_example_is_computed_right() -> None:
    """The worked example gives the score that it says."""
    missing = [issue("MISSING_METRIC", "conversions_micros")]
    missing += [issue("MISSING_METRIC", "revenue_micros", cost_permille=100)]
    missing += [issue("MISSING_NAME", "campaign_name"), issue("MISSING_TIME_ZONE", "time_zone")]
    quality = quality_of([*missing, issue("NOT_FINAL", "final")])
    said = re.search(r"\+ 0\.10 = ([0-9.]+)\.\n", DOCUMENT.read_text())
    assert said is not None
    assert quality.score == pytest.approx(float(said[1]))


@pytest.mark.parametrize(
    ("row", "platform", "level"),
    [
        ("level CONTROL", "offline", "CONTROL"),
        ("levels FLOW and MESSAGE, and all of `klaviyo`", "klaviyo", "CAMPAIGN"),
        ("levels FLOW and MESSAGE, and all of `klaviyo`", "meta", "MESSAGE"),
        ("`offline`", "offline", "CAMPAIGN"),
        ("any other platform", "meta", "AD"),
    ],
)
def test_expected_metrics_are_those_of_the_table(row: str, platform: str, level: str) -> None:
    """Each kind of row has the metrics and costs that the document says."""
    costs = ", ".join(
        f"{name.removesuffix('_micros')} {cost / 1000:.2f}"
        for name, cost in expected_metrics(platform, level)
    )
    assert f"| {row} | {costs} |" in DOCUMENT.read_text()
