"""The words of insights: one sentence, the same for the same numbers."""

import re
from typing import Final

from liftos_memory.domain.documents import ObjectKey, ObjectNames
from liftos_memory.domain.insight_metrics import METRICS_BY_NAME, InsightMetric, Unit
from liftos_memory.domain.insights import Insight, InsightDirection, InsightPattern

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_LONGEST_WORDING: Final = 600
_NAMED_CONTRIBUTORS: Final = 3


def summary(insight: Insight) -> str:
    """Return the sentence of an insight."""
    metric = METRICS_BY_NAME[insight.metric]
    subject = f"{_capitalised(metric.words)} of {object_words(insight)}"
    sentence = {
        InsightPattern.TREND: _trend,
        InsightPattern.POINT: _point,
        InsightPattern.LEVEL_SHIFT: _shift,
        InsightPattern.PEERS: _peers,
        InsightPattern.PERIOD: _period,
    }[insight.pattern](insight, metric, subject)
    if insight.subject.is_whole:
        sentence += _contributions(insight)
    context = f" Known of these days: {', '.join(insight.context)}." if insight.context else ""
    return sentence + context


def object_words(insight: Insight) -> str:
    """Return what an insight is about, such as "campaign Spring sale (meta)"."""
    key, names = insight.subject.key, insight.names
    level = key.level.lower().replace("_", " ")
    name = f"{object_name(key, names)} ({insight.subject.channel or key.platform})"
    if insight.subject.is_whole:
        return f"the {insight.object_count:,} {level}s of account {name}"
    return f"{level} {name}"


def object_name(key: ObjectKey, names: ObjectNames) -> str:
    """Return the name of an object, or its id where it has none."""
    for kind in ("series", "message", "flow", "ad", "ad_group", "campaign"):
        identifier = getattr(key, f"{kind}_id")
        if identifier:
            return str(getattr(names, f"{kind}_name") or identifier)
    return names.account_name or key.account_id


def keeps_numbers(wording: str, template: str) -> bool:
    """Return whether a wording may stand in for the template: one paragraph, and no other number.

    Numbers are compared as written: 1,250.5 is not 1250.5, and a rounded one is another.
    """
    text = wording.strip()
    return (
        0 < len(text) <= _LONGEST_WORDING
        and "\n" not in text
        and set(_NUMBER.findall(text)) <= set(_NUMBER.findall(template))
    )


def number(value: float, metric: InsightMetric, currency_code: str) -> str:
    """Return a number of a metric with its unit: 1,250.50 USD, 1.98 %, 4.2, 1,250."""
    if metric.unit is Unit.MONEY:
        return f"{value:,.2f} {currency_code}".rstrip()
    if metric.unit is Unit.SHARE:
        return f"{value * 100:.2f} %"
    if metric.unit is Unit.FACTOR or abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:,.0f}"


def _contributions(insight: Insight) -> str:
    """Return how many objects of a whole move along, and which add most."""
    said = f" {insight.moved_count:,} of {insight.object_count:,} move along"
    parts = [
        f"{object_name(it.key, it.names)} ({it.share:.0%})"
        for it in insight.contributors[:_NAMED_CONTRIBUTORS]
        if it.share > 0.0
    ]
    if not parts:
        return f"{said}."
    return f"{said}; the largest shares of the change are from {', '.join(parts)}."


def _capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{abs(fraction) * 100:.1f} %"


def _interval(insight: Insight) -> str:
    if insight.change_low is None or insight.change_high is None:
        return ""
    low, high = insight.change_low * 100, insight.change_high * 100
    return f", 95 % interval {low:+.1f} to {high:+.1f} %"


def _is_up(insight: Insight) -> bool:
    return insight.direction is InsightDirection.UP


def _trend(insight: Insight, metric: InsightMetric, subject: str) -> str:
    verb = "rises" if _is_up(insight) else "falls"
    verb = verb[:-1] if metric.words.endswith("s") else verb
    level = number(insight.observed, metric, insight.subject.currency_code)
    a_week = "" if metric.denominator else " a week"
    return (
        f"{subject} {verb} by {_percent(insight.change)} a week{_interval(insight)}, over"
        f" {insight.sample_count} weeks from {insight.start_date} to {insight.end_date};"
        f" the median is {level}{a_week}."
    )


def _verb(metric: InsightMetric) -> str:
    return "were" if metric.words.endswith("s") else "was"


def _point(insight: Insight, metric: InsightMetric, subject: str) -> str:
    code = insight.subject.currency_code
    seen = number(insight.observed, metric, code)
    span = str(insight.start_date)
    if insight.end_date != insight.start_date:
        span = f"a day between {insight.start_date} and {insight.end_date}"
    expected = ""
    if insight.expected_low is not None and insight.expected_high is not None:
        low = number(insight.expected_low, metric, code)
        expected = f"; {low} to {number(insight.expected_high, metric, code)} was to be expected"
    return f"{subject} {_verb(metric)} {seen} on {span}{expected}."


def _shift(insight: Insight, metric: InsightMetric, subject: str) -> str:
    code = insight.subject.currency_code
    verb = "have" if metric.words.endswith("s") else "has"
    side = "higher" if _is_up(insight) else "lower"
    a_day = "" if metric.denominator else " a day"
    before = ""
    if insight.expected is not None:
        before = f", {number(insight.expected, metric, code)} was to be expected"
    return (
        f"{subject} {verb} been {_percent(insight.change)} {side} since {insight.start_date}:"
        f" {number(insight.observed, metric, code)}{a_day}{before}."
    )


def _peers(insight: Insight, metric: InsightMetric, subject: str) -> str:
    code = insight.subject.currency_code
    tenth = "highest" if _is_up(insight) else "lowest"
    typical = ""
    if insight.expected is not None:
        typical = f", {number(insight.expected, metric, code)} is typical"
    return (
        f"{subject} is in the {tenth} tenth of its {insight.sample_count} peers from"
        f" {insight.start_date} to {insight.end_date}:"
        f" {number(insight.observed, metric, code)}{typical}."
    )


def _period(insight: Insight, metric: InsightMetric, subject: str) -> str:
    code = insight.subject.currency_code
    side = "higher" if _is_up(insight) else "lower"
    a_week = "" if metric.denominator else " a week"
    before = ""
    if insight.expected is not None:
        before = f" after {number(insight.expected, metric, code)}"
    return (
        f"{subject} from {insight.start_date} to {insight.end_date} {_verb(metric)}"
        f" {_percent(insight.change)} {side} than in the {insight.sample_count} days"
        f" before{_interval(insight)}: {number(insight.observed, metric, code)}{a_week}{before}."
    )
