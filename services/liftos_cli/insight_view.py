"""An insight as people read it."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf.message import Message

from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos.memory.v1.insight_pb2 import Insight, InsightContributor, InsightEvidence
from liftos.memory.v1.memory_service_pb2 import GenerateInsightsResponse
from liftos_cli.figures import UNSET, counted, enum_word_of, ratio, short_name
from liftos_cli.message_view import days_text, time_text
from liftos_cli.output import Column, print_table
from liftos_client.arguments import enum_word

_WHOLE_FROM: Final = 1_000.0
_RESTS_ON: Final = {"TREND": "week", "PEERS": "peer"}


def print_insight(insight: Insight) -> None:
    """Print the sentence of an insight, its figures, and what adds to it."""
    print(insight.summary)
    print()
    print_table(
        [Column("field"), Column("value")],
        [(name, value) for name, value in _fields(insight) if value],
    )
    if insight.contributors:
        print()
        print_table(
            [
                Column("adds to it"),
                *(Column(name, number=True) for name in ("before", "after", "share")),
                Column("its own insight"),
            ],
            map(_contributor, insight.contributors),
        )
    print()
    print(f"Its numbers: {evidence_command(insight.evidence)}")


def _fields(insight: Insight) -> Iterable[tuple[str, str]]:
    pattern = enum_word_of(insight, "pattern")
    words = (enum_word_of(insight, "kind"), pattern, enum_word_of(insight, "direction"))
    yield "id", short_name(insight.name)
    yield "what", ", ".join(dict.fromkeys(word.lower().replace("_", " ") for word in words))
    yield "state", enum_word_of(insight, "state")
    yield "metric", f"{insight.metric} {insight.currency_code}".rstrip()
    yield "object", _object(insight)
    yield "days", days_text(insight.date_range)
    yield "observed", _figure(insight, "observed")
    if insight.HasField("expected"):
        expected = _figure(insight, "expected")
        if insight.HasField("expected_low") and insight.HasField("expected_high"):
            low, high = _figure(insight, "expected_low"), _figure(insight, "expected_high")
            expected += f" (99 % of days {low} to {high})"
        yield "expected", expected
    if insight.HasField("change"):
        change = f"{insight.change:+.1%}" + (" a week" if pattern == "TREND" else "")
        if insight.HasField("change_low") and insight.HasField("change_high"):
            change += f" (95 % interval {insight.change_low:+.1%} to {insight.change_high:+.1%})"
        yield "change", change
    if insight.HasField("percentile"):
        yield "place", f"above {insight.percentile:.0%} of its peers"
    yield "rests on", counted(insight.sample_count, _RESTS_ON.get(pattern, "day"))
    chance = f"p {insight.p_value:.2g}, q {insight.q_value:.2g}"
    yield "severity", f"{insight.severity:.0f} of 100 ({chance})"
    yield "quality", ratio(insight.quality_score)
    yield (
        "issues",
        ", ".join(f"{it.code} of {it.field} -{it.cost:.2f}" for it in insight.quality_issues),
    )
    yield "known of these days", ", ".join(insight.context)
    if insight.object_count:
        yield "moves along", f"{insight.moved_count:,} of {insight.object_count:,}"
    yield "told by", short_name(insight.whole)
    if insight.rating:
        comment = f": {insight.rating_comment}" if insight.rating_comment else ""
        yield "rating", enum_word_of(insight, "rating") + comment
    yield "found", time_text(insight, "create_time")
    yield "last looked at", time_text(insight, "update_time")


def _object(insight: Insight) -> str:
    level = enum_word_of(insight.object, "level").lower().replace("_", " ")
    if insight.object_count:
        name = f"{counted(insight.object_count, level)} of account {insight.object.account_id}"
    else:
        name = f"{level} {insight.display_name}"
    ways = (insight.attribution_key, enum_word_of(insight, "date_basis"))
    return ", ".join(filter(None, (name, insight.channel or insight.object.platform, *ways)))


def _figure(message: Message, name: str) -> str:
    if message.DESCRIPTOR.fields_by_name[name].has_presence and not message.HasField(name):
        return UNSET
    value: float = getattr(message, name)
    return f"{value:,.0f}" if abs(value) >= _WHOLE_FROM else ratio(value)


def _contributor(contributor: InsightContributor) -> Sequence[str]:
    return [
        contributor.display_name,
        _figure(contributor, "before"),
        _figure(contributor, "after"),
        f"{contributor.share:.1%}",
        short_name(contributor.insight) or UNSET,
    ]


def evidence_command(evidence: InsightEvidence) -> str:
    """Return the command that gives the numbers of an insight."""
    level = evidence.level.removeprefix("ENTRY_LEVEL_").lower()
    parts = [
        *("liftos", "entries", "query"),
        *("--from", evidence.date_range.start_date, "--to", evidence.date_range.end_date),
        *("--level", level, "--granularity"),
        evidence.granularity.removeprefix("GRANULARITY_").lower(),
        *(word for name in evidence.group_by for word in ("--by", name)),
        *("--filter", evidence.filter),
    ]
    return shlex.join(parts)


def looked_at(answer: GenerateInsightsResponse) -> str:
    """Return what a run looked at and found, in a sentence or two."""
    if not answer.HasField("date_range"):
        return "There are no entries yet, so there was nothing to look at."
    days = days_text(answer.date_range)
    skipped = ", ".join(
        enum_word(EntryLevel, level).lower().replace("_", " ") for level in answer.skipped_levels
    )
    left_out = (
        f" Not looked at, as of too many series: {skipped}; name a filter." if skipped else ""
    )
    if not answer.day_count and not skipped:
        return f"None of these days has entries of these levels ({days}): nothing was looked at."
    told = f"{answer.insight_count:,} hold"
    if answer.within_count:
        told += f", with {answer.within_count:,} more within them"
    return (
        f"{told}; {answer.resolved_count:,} no longer do. {answer.series_count:,} series were"
        f" looked at, on {counted(answer.day_count, 'day')} with entries ({days}).{left_out}"
    )
