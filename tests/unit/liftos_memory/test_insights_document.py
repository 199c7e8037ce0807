"""The page of insights says what the code does."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from liftos_memory.domain.detectors.benchmarks import LEAST_PEERS
from liftos_memory.domain.detectors.trends import LEAST_SEASONS, LEAST_SUMS
from liftos_memory.domain.insight_metrics import INSIGHT_METRICS
from liftos_memory.domain.insight_series import MAXIMUM_SERIES
from liftos_memory.settings import MemorySettings

_PAGE = (Path(__file__).parents[3] / "docs" / "insights.md").read_text()


def test_the_metrics_are_those_that_are_looked_at() -> None:
    """Sums and ratios, in order."""
    named = {
        kind: re.findall(r"\w+", cells)
        for kind, cells in re.findall(r"^\| (sums|ratios) \| (.*) \|$", _PAGE, re.MULTILINE)
    }
    assert named == {
        "sums": [it.name for it in INSIGHT_METRICS if not it.denominator],
        "ratios": [it.name for it in INSIGHT_METRICS if it.denominator],
    }


def test_the_numbers_are_those_of_the_code() -> None:
    """Weeks, peers, series and times."""
    fields = MemorySettings.model_fields
    assert f"at least {LEAST_SUMS} of them" in _PAGE
    assert f"With {LEAST_SEASONS} to {LEAST_SUMS - 1} weeks" in _PAGE
    assert LEAST_PEERS == 5
    assert f"{MAXIMUM_SERIES:,} series" in _PAGE
    for name in ("quiet_seconds", "wait_seconds", "every_hours"):
        default = fields[f"insight_{name}"].default
        assert f"`LIFTOS_INSIGHT_{name.upper()}` ({default:,.0f})" in _PAGE


def test_the_example_of_a_detector_works() -> None:
    """A rising series, a constant one, and one without any value."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", _PAGE, re.DOTALL | re.MULTILINE)
    output = StringIO()
    with redirect_stdout(output):
        exec(code, {})
    assert re.match(r"\['\d\.\d% a week, p ", output.getvalue())
    assert "nan% a week, p nan" in output.getvalue()
