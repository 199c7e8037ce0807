"""What `UnifiedDataAPI` answers with, beside frames."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Benchmarks:
    """Members and periods against each other; docs/comparisons.md says what each number is.

    Attributes:
        comparisons: One row for each metric and member: value, baseline_value, change, percentile,
            mix_effect, rate_effect, intervals.
        totals: The same of all members together.
        correlations: Pairs of members, strongest first.
        calendar_effects: Days of the week, holidays and events.
        marketing_efficiency: Revenue of the shop per amount spent.
        caveats: What to mind: kind, message, metrics, members.
        baseline_start_date: First day that was held against.
        baseline_end_date: Last day.
    """

    comparisons: "pd.DataFrame"
    totals: "pd.DataFrame"
    correlations: "pd.DataFrame"
    calendar_effects: "pd.DataFrame"
    marketing_efficiency: "pd.DataFrame"
    caveats: "pd.DataFrame"
    baseline_start_date: str
    baseline_end_date: str


@dataclass(frozen=True, slots=True, eq=False)
class TrendAnalysis:
    """How a metric went, against a period before, and what is known about it.

    Attributes:
        metric: The metric.
        series: One row for each step and member: period ("asked" or "baseline"),
            period_start_date, the dimension, currency_code, value, entry_count, quality_score,
            final.
        benchmarks: The two periods against each other.
        insights: What was found about the metric at the level in the asked days, among what the
            filter takes, most severe first.
        insights_left_out: Why there are none where the filter names what insights do not have;
            else empty.
    """

    metric: str
    series: "pd.DataFrame"
    benchmarks: Benchmarks
    insights: "pd.DataFrame"
    insights_left_out: str = ""
