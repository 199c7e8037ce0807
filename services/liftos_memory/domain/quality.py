"""The quality score of an entry: 0 to 1, and every point that it lacks has a named reason.

    part  = max(0, 1 - sum of the costs of its issues)
    score = 0.30 completeness + 0.25 validity + 0.20 consistency + 0.15 timeliness + 0.10 uniqueness

Costs are whole thousandths and weights whole hundredths, so the arithmetic is exact and the score
can be recomputed from the stored issues alone. `ISSUE_KINDS` is the catalogue of all issues. What
makes a row impossible (negative numbers, unknown currencies, a frequency below 1) is refused by the
entry rules and never gets here; what is merely doubtful is kept and scored.

* **Completeness**: the metrics that such a row should have (`expected_metrics`), the object's name
  and its time zone. Zero is a measured number and complete; only unset is missing.
* **Validity**: ratios within a range that real campaigns keep. Limits on money are applied only to
  currencies with a unit of some worth, and only to rows with enough volume for a ratio to mean
  something. Amounts a million times too small betray units given as micros.
* **Consistency**: parts are not larger than their whole. What only holds for the day of the click
  or of the sending is not asked of rows that are dated by conversion or event: a mail is opened
  days after its delivery.
* **Timeliness**: relative to the date's finality, never to its age. A row of a day that was not
  over when it was written loses most; a row that the platform may still restate loses a little,
  until `RESTATEMENT_DAYS` have passed. Old rows lose nothing. Level CONTROL may hold plans and is
  exempt.
* **Uniqueness**: two rows of a batch with one natural key are refused by the entry rules; here two
  breakdowns of the same object and day are suspected that agree in every number, money included.

A row is scored when it is written, with the date of that day. An object's day is as good as its
worst row, and worse where its level does not add up (`quality_summary`).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from liftos_mapping.entry_fields import ADDITIVE_METRICS, ENTRY_SCHEMA, NATURAL_KEY
from liftos_memory.domain.currencies import SMALL_UNIT_CURRENCY_CODES

RESTATEMENT_DAYS: Final = 90
"""The longest time for which a platform credits late conversions (Google Ads)."""

_Mask = npt.NDArray[np.bool_]


class QualityPart(StrEnum):
    """What a score is made of."""

    COMPLETENESS = "COMPLETENESS"
    VALIDITY = "VALIDITY"
    CONSISTENCY = "CONSISTENCY"
    TIMELINESS = "TIMELINESS"
    UNIQUENESS = "UNIQUENESS"


WEIGHTS_PERCENT: Final = MappingProxyType(
    {
        QualityPart.COMPLETENESS: 30,
        QualityPart.VALIDITY: 25,
        QualityPart.CONSISTENCY: 20,
        QualityPart.TIMELINESS: 15,
        QualityPart.UNIQUENESS: 10,
    }
)


class IssueSeverity(StrEnum):
    """How much an issue matters to a reader."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class IssueKind:
    """An entry of the catalogue.

    Attributes:
        code: Stable word.
        part: The part that it takes its cost from.
        severity: How much it matters.
        cost_permille: Its cost in thousandths of the part, unless the finding says otherwise.
        meaning: What was found, for a person.
    """

    code: str
    part: QualityPart
    severity: IssueSeverity
    cost_permille: int
    meaning: str


def _catalogue() -> Iterator[IssueKind]:
    info, warning, error = IssueSeverity.INFO, IssueSeverity.WARNING, IssueSeverity.ERROR

    part = QualityPart.COMPLETENESS
    yield IssueKind("MISSING_METRIC", part, warning, 200, "a metric that such a row has is unset")
    yield IssueKind("MISSING_NAME", part, info, 100, "the object has no name")
    yield IssueKind("MISSING_TIME_ZONE", part, info, 50, "the zone in which days begin is unknown")

    part = QualityPart.VALIDITY
    yield IssueKind("CTR_IMPLAUSIBLE", part, warning, 200, "more than half of the views clicked")
    yield IssueKind("CPM_IMPLAUSIBLE", part, warning, 200, "a thousand views cost over 1000 units")
    yield IssueKind("CPC_IMPLAUSIBLE", part, warning, 200, "a click costs over 1000 units")
    yield IssueKind("SPEND_TOO_SMALL", part, warning, 300, "10 million views cost under one unit")
    yield IssueKind("CONVERSIONS_TOO_SMALL", part, warning, 300, "under a thousandth conversion")
    yield IssueKind("ROAS_IMPLAUSIBLE", part, warning, 200, "revenue is over 1000 times the spend")
    yield IssueKind("BOUNCE_RATE_IMPLAUSIBLE", part, warning, 200, "over half of the mail bounced")
    yield IssueKind("SPAM_RATE_IMPLAUSIBLE", part, warning, 200, "over 5 % complained of spam")
    yield IssueKind("UNSUBSCRIBE_RATE_IMPLAUSIBLE", part, warning, 200, "over 20 % unsubscribed")

    part = QualityPart.CONSISTENCY
    for comparison in _COMPARISONS:
        yield IssueKind(
            comparison.code,
            part,
            comparison.severity,
            comparison.cost_permille,
            f"{comparison.part} is above {comparison.whole}",
        )
    yield IssueKind(
        "CONVERSIONS_ABOVE_CLICKS", part, warning, 200, "more conversions than clicks, views aside"
    )
    yield IssueKind(
        "CONVERSIONS_ABOVE_CLICKS_BY_VIEWS", part, info, 50, "views make conversions exceed clicks"
    )
    yield IssueKind("FREQUENCY_MISMATCH", part, warning, 100, "frequency is not views by reach")
    yield IssueKind(
        "DELIVERED_AND_BOUNCED_ABOVE_SENT", part, warning, 200, "more arrived or bounced than sent"
    )
    yield IssueKind("REVENUE_WITHOUT_CONVERSIONS", part, warning, 200, "revenue, but 0 conversions")
    yield IssueKind("SPEND_WITHOUT_IMPRESSIONS", part, warning, 200, "spend, but 0 impressions")
    yield IssueKind(
        "FINAL_BEFORE_DAY_END", part, error, 300, "called final before its day was over"
    )
    yield IssueKind("LEVEL_MISMATCH", part, error, 400, "another level of the day says another sum")

    part = QualityPart.TIMELINESS
    yield IssueKind("NOT_FINAL", part, info, 100, "the platform may still restate it")
    yield IssueKind("DAY_NOT_OVER", part, warning, 400, "written before its day was over")

    part = QualityPart.UNIQUENESS
    yield IssueKind(
        "REPEATED_NUMBERS", part, warning, 300, "another breakdown of the day has the same numbers"
    )


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A part that may not be above its whole, and on which date bases that holds."""

    code: str
    part: str
    whole: str
    cost_permille: int
    severity: IssueSeverity
    same_day_only: bool = False
    unless_set: str = ""


_COMPARISONS: Final = (
    _Comparison("CLICKS_ABOVE_IMPRESSIONS", "clicks", "impressions", 400, IssueSeverity.ERROR),
    _Comparison("LINK_CLICKS_ABOVE_CLICKS", "link_clicks", "clicks", 300, IssueSeverity.ERROR),
    _Comparison("UNIQUE_CLICKS_ABOVE_CLICKS", "unique_clicks", "clicks", 300, IssueSeverity.ERROR),
    _Comparison("REACH_ABOVE_IMPRESSIONS", "reach", "impressions", 300, IssueSeverity.ERROR),
    _Comparison(
        "CONVERSIONS_ABOVE_ALL_CONVERSIONS",
        "conversions_micros",
        "all_conversions_micros",
        200,
        IssueSeverity.WARNING,
    ),
    _Comparison(
        "COMPLETIONS_ABOVE_VIEWS", "video_completions", "video_views", 50, IssueSeverity.INFO
    ),
    _Comparison("DELIVERED_ABOVE_SENT", "delivered", "sent", 400, IssueSeverity.ERROR, True),
    _Comparison("BOUNCED_ABOVE_SENT", "bounced", "sent", 400, IssueSeverity.ERROR, True),
    _Comparison(
        "UNIQUE_OPENED_ABOVE_DELIVERED",
        "unique_opened",
        "delivered",
        400,
        IssueSeverity.ERROR,
        True,
    ),
    _Comparison(
        "UNIQUE_CLICKED_ABOVE_DELIVERED",
        "unique_clicked",
        "delivered",
        400,
        IssueSeverity.ERROR,
        True,
    ),
    # One reader may open or click again and again, so totals alone prove little.
    _Comparison(
        "OPENED_ABOVE_DELIVERED",
        "opened",
        "delivered",
        50,
        IssueSeverity.INFO,
        True,
        unless_set="unique_opened",
    ),
    _Comparison(
        "CLICKED_ABOVE_DELIVERED",
        "clicked",
        "delivered",
        100,
        IssueSeverity.WARNING,
        True,
        unless_set="unique_clicked",
    ),
    _Comparison(
        "UNSUBSCRIBED_ABOVE_DELIVERED", "unsubscribed", "delivered", 300, IssueSeverity.ERROR, True
    ),
    _Comparison(
        "SPAM_COMPLAINTS_ABOVE_DELIVERED",
        "spam_complaints",
        "delivered",
        300,
        IssueSeverity.ERROR,
        True,
    ),
    _Comparison(
        "MACHINE_OPENED_ABOVE_OPENED", "machine_opened", "opened", 300, IssueSeverity.ERROR
    ),
    _Comparison("UNIQUE_OPENED_ABOVE_OPENED", "unique_opened", "opened", 300, IssueSeverity.ERROR),
    _Comparison(
        "UNIQUE_CLICKED_ABOVE_CLICKED", "unique_clicked", "clicked", 300, IssueSeverity.ERROR
    ),
)

ISSUE_KINDS: Final = MappingProxyType({kind.code: kind for kind in _catalogue()})
"""Every issue that a row can have, by its code."""


@dataclass(frozen=True, slots=True)
class QualityIssue:
    """One finding about one row.

    Attributes:
        code: A code of `ISSUE_KINDS`.
        field: The column it is about; may be empty.
        cost_permille: What it takes off its part, in thousandths.
    """

    code: str
    field: str
    cost_permille: int

    @property
    def kind(self) -> IssueKind:
        """Its entry in the catalogue."""
        return ISSUE_KINDS[self.code]

    @property
    def part(self) -> QualityPart:
        """The part it takes its cost from."""
        return self.kind.part

    @property
    def severity(self) -> IssueSeverity:
        """How much it matters."""
        return self.kind.severity

    @property
    def cost(self) -> float:
        """What it takes off its part, 0 to 1."""
        return self.cost_permille / 1000


@dataclass(frozen=True, slots=True)
class Quality:
    """A score, its parts and the reasons for every missing point; all numbers are 0 to 1."""

    score: float
    completeness: float
    validity: float
    consistency: float
    timeliness: float
    uniqueness: float
    issues: tuple[QualityIssue, ...]


class IssueTextError(ValueError):
    """A stored text is not a list of issues."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(
            f"{text[:80]!r} is no list of issues; expected CODE:field:cost, joined with semicolons"
        )


_ISSUE_TEXT: Final = re.compile(r"([A-Z_]+):([a-z_.]*):(0|[1-9][0-9]{0,3})")


def issue(code: str, field: str, *, cost_permille: int | None = None) -> QualityIssue:
    """Return a finding with the cost of its kind, unless another is given.

    Raises KeyError for a code that is not in the catalogue.
    """
    kind = ISSUE_KINDS[code]
    return QualityIssue(code, field, kind.cost_permille if cost_permille is None else cost_permille)


def encode_issues(issues: Iterable[QualityIssue]) -> str | None:
    """Return issues as text, `CODE:field:cost;…` with costs in thousandths; None for none."""
    return ";".join(f"{it.code}:{it.field}:{it.cost_permille}" for it in issues) or None


def decode_issues(text: str | None) -> tuple[QualityIssue, ...]:
    """Return the issues of a text of `encode_issues`, exactly as they were.

    Raises:
        IssueTextError: the text has another form or a code that is not in the catalogue.
    """
    if text is None:
        return ()
    issues = []
    for item in text.split(";"):
        match = _ISSUE_TEXT.fullmatch(item)
        if match is None or match[1] not in ISSUE_KINDS:
            raise IssueTextError(text)
        issues.append(QualityIssue(match[1], match[2], int(match[3])))
    return tuple(issues)


def quality_of(issues: Iterable[QualityIssue]) -> Quality:
    """Return the score and its parts, which follow from the issues alone."""
    found = tuple(issues)
    left = dict.fromkeys(QualityPart, 1000)
    for it in found:
        left[it.part] -= it.cost_permille
    parts = {part: max(0, permille) for part, permille in left.items()}
    return Quality(
        score=sum(WEIGHTS_PERCENT[part] * parts[part] for part in QualityPart) / 100_000,
        completeness=parts[QualityPart.COMPLETENESS] / 1000,
        validity=parts[QualityPart.VALIDITY] / 1000,
        consistency=parts[QualityPart.CONSISTENCY] / 1000,
        timeliness=parts[QualityPart.TIMELINESS] / 1000,
        uniqueness=parts[QualityPart.UNIQUENESS] / 1000,
        issues=found,
    )


def quality_from_text(text: str | None) -> Quality:
    """Return the quality of a row from its stored issues; None means that there are none."""
    return quality_of(decode_issues(text))


# --- what a row should have ----------------------------------------------------------------------

_AD_METRICS: Final = (
    ("spend_micros", 300),
    ("impressions", 200),
    ("clicks", 200),
    ("conversions_micros", 200),
    ("revenue_micros", 100),
)
_MESSAGE_METRICS: Final = (
    ("sent", 200),
    ("delivered", 250),
    ("opened", 200),
    ("clicked", 200),
    ("bounced", 100),
    ("unsubscribed", 50),
)
_OFFLINE_METRICS: Final = (("spend_micros", 600),)
_CONTROL_METRICS: Final = (("value_micros", 1000),)
_NAME_OF_LEVEL: Final = {
    "ACCOUNT": "account_name",
    "CAMPAIGN": "campaign_name",
    "AD_GROUP": "ad_group_name",
    "AD": "ad_name",
    "FLOW": "flow_name",
    "MESSAGE": "message_name",
    "OUTCOME": "account_name",
    "CONTROL": "series_name",
}


def expected_metrics(platform: str, level: str) -> tuple[tuple[str, int], ...]:
    """Return the metrics that a row should have, with the cost in thousandths of each missing one.

    | row                                   | expected                                            |
    |---------------------------------------|-----------------------------------------------------|
    | CONTROL                               | value                                               |
    | OUTCOME                               | orders or revenue, either will do (kept apart)      |
    | FLOW, MESSAGE, and all of klaviyo     | sent, delivered, opened, clicked, bounced,          |
    |                                       | unsubscribed                                        |
    | offline                               | spend                                               |
    | any other platform                    | spend, impressions, clicks, conversions, revenue    |
    """
    if level == "CONTROL":
        return _CONTROL_METRICS
    if level == "OUTCOME":
        return ()
    if platform == "klaviyo" or level in ("FLOW", "MESSAGE"):
        return _MESSAGE_METRICS
    if platform == "offline":
        return _OFFLINE_METRICS
    return _AD_METRICS


# --- scoring whole columns -----------------------------------------------------------------------

_Finding = tuple[QualityIssue, _Mask]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Columns of a batch as masks and floats."""

    table: pa.Table

    def column(self, name: str) -> pa.Array:
        return self.table.column(name).combine_chunks()

    def has(self, *names: str) -> bool:
        """Say whether each of the columns has any value."""
        return all(self.table.column(name).null_count < self.table.num_rows for name in names)

    def is_set(self, name: str) -> _Mask:
        return _as_mask(self.column(name).is_valid())

    def is_above(self, part: str, whole: str) -> _Mask:
        """Where both are set and the first is larger."""
        if not self.has(part, whole):
            return self.nowhere()
        return _as_mask(pc.greater(self.column(part), self.column(whole)))

    def is_positive(self, name: str) -> _Mask:
        return _as_mask(pc.greater(self.column(name), 0)) if self.has(name) else self.nowhere()

    def is_zero(self, name: str) -> _Mask:
        return _as_mask(pc.equal(self.column(name), 0)) if self.has(name) else self.nowhere()

    def floats(self, name: str) -> npt.NDArray[np.float64]:
        """Return a column as floats; NaN, which compares as false, where it is unset."""
        if not self.has(name):
            return np.full(self.table.num_rows, np.nan)
        values = self.column(name).cast(pa.float64(), safe=False).fill_null(np.nan)
        floats: npt.NDArray[np.float64] = values.to_numpy(zero_copy_only=False)
        return floats

    def is_one_of(self, name: str, words: Iterable[str]) -> _Mask:
        return _as_mask(pc.is_in(self.column(name), value_set=pa.array(sorted(words), pa.string())))

    def nowhere(self) -> _Mask:
        return np.zeros(self.table.num_rows, np.bool_)


def _as_mask(values: pa.Array) -> _Mask:
    mask: _Mask = values.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def score_rows(table: pa.Table, *, today: date) -> tuple[npt.NDArray[np.float64], pa.Array]:
    """Score every row of a checked batch.

    Args:
        table: Rows in `ENTRY_SCHEMA` that keep the entry rules.
        today: The date in UTC at which the rows are written.

    Returns:
        The score of each row, and its issues as the text of `encode_issues`, null for none.
    """
    rows = _Rows(table.select(ENTRY_SCHEMA.names))
    findings = [
        (found, mask)
        for check in (
            _completeness(rows),
            _validity(rows),
            _consistency(rows),
            _timeliness(rows, today),
            _uniqueness(rows),
        )
        for found, mask in check
        if mask.any()
    ]
    return _summarise(findings, table.num_rows)


def _summarise(
    findings: Sequence[_Finding], row_count: int
) -> tuple[npt.NDArray[np.float64], pa.Array]:
    """Score each combination of issues once, since most rows share theirs with many others."""
    codes = np.zeros(row_count, np.int64)
    for start in range(0, len(findings), 32):
        combined = codes << 32
        for bit, (_, mask) in enumerate(findings[start : start + 32]):
            combined |= mask.astype(np.int64) << bit
        codes = _distinct(combined)
    firsts = np.zeros(codes.max(initial=-1) + 1, np.int64)
    firsts[codes[::-1]] = np.arange(row_count - 1, -1, -1)
    combinations = [[found for found, mask in findings if mask[first]] for first in firsts.tolist()]
    scores = np.array([quality_of(issues).score for issues in combinations], np.float64)
    texts = pa.array([encode_issues(issues) for issues in combinations], pa.string())
    return scores[codes], texts.take(pa.array(codes))


def _distinct(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number the distinct values from 0 in the order in which they appear."""
    codes: npt.NDArray[np.int64] = (
        pa.array(values).dictionary_encode().indices.cast(pa.int64()).to_numpy()
    )
    return codes


def _group_codes(table: pa.Table, names: Iterable[str]) -> npt.NDArray[np.int64]:
    """Number the distinct combinations of columns; rows with one number agree in all of them."""
    codes = np.zeros(table.num_rows, np.int64)
    for name in names:
        codes = _refine(codes, table.column(name).combine_chunks())
    return codes


def _refine(codes: npt.NDArray[np.int64], values: pa.Array) -> npt.NDArray[np.int64]:
    """Split groups by the values of one more column; null is a value of its own."""
    encoded = values.dictionary_encode(null_encoding="encode")
    indices = encoded.indices.cast(pa.int64()).to_numpy()
    return _distinct(codes * max(1, len(encoded.dictionary)) + indices)


def _completeness(rows: _Rows) -> Iterator[_Finding]:
    kinds = _group_codes(rows.table, ("platform", "level"))
    for kind in range(int(kinds.max(initial=-1)) + 1):
        among = kinds == kind
        first = int(np.argmax(among))
        platform = rows.table.column("platform")[first].as_py()
        level = rows.table.column("level")[first].as_py()
        for name, cost in expected_metrics(platform, level):
            missing = among & ~rows.is_set(name)
            yield issue("MISSING_METRIC", name, cost_permille=cost), missing
        if level == "OUTCOME":
            missing = among & ~rows.is_set("orders") & ~rows.is_set("revenue_micros")
            yield issue("MISSING_METRIC", "revenue_micros", cost_permille=1000), missing
        if level != "CONTROL":
            yield issue("MISSING_TIME_ZONE", "time_zone"), among & ~rows.is_set("time_zone")
        if level in _NAME_OF_LEVEL:
            name = _NAME_OF_LEVEL[level]
            yield issue("MISSING_NAME", name), among & ~rows.is_set(name)


def _validity(rows: _Rows) -> Iterator[_Finding]:
    spend, impressions = rows.floats("spend_micros"), rows.floats("impressions")
    clicks, conversions = rows.floats("clicks"), rows.floats("conversions_micros")
    revenue = rows.floats("revenue_micros")
    worth = ~rows.is_one_of("currency_code", SMALL_UNIT_CURRENCY_CODES)
    yield (
        issue("CTR_IMPLAUSIBLE", "clicks"),
        (impressions >= 100) & (2 * clicks > impressions) & (clicks <= impressions),
    )
    yield (
        issue("CPM_IMPLAUSIBLE", "spend_micros"),
        worth & (impressions >= 100) & (spend > 1e6 * impressions),
    )
    yield issue("CPC_IMPLAUSIBLE", "spend_micros"), worth & (clicks >= 10) & (spend > 1e9 * clicks)
    yield (
        issue("SPEND_TOO_SMALL", "spend_micros"),
        (impressions >= 1000) & (spend > 0) & (10 * spend < impressions),
    )
    yield (
        issue("CONVERSIONS_TOO_SMALL", "conversions_micros"),
        (conversions > 0) & (conversions < 1000),
    )
    yield issue("ROAS_IMPLAUSIBLE", "revenue_micros"), (spend >= 1e6) & (revenue > 1000 * spend)
    if rows.has("sent") or rows.has("delivered"):
        sent, delivered = rows.floats("sent"), rows.floats("delivered")
        for code, name, whole, factor in (
            ("BOUNCE_RATE_IMPLAUSIBLE", "bounced", sent, 2),
            ("SPAM_RATE_IMPLAUSIBLE", "spam_complaints", delivered, 20),
            ("UNSUBSCRIBE_RATE_IMPLAUSIBLE", "unsubscribed", delivered, 5),
        ):
            part = rows.floats(name)
            yield issue(code, name), (whole >= 100) & (factor * part > whole) & (part <= whole)


def _consistency(rows: _Rows) -> Iterator[_Finding]:
    same_day = ~rows.is_one_of("date_basis", ("CONVERSION", "EVENT"))
    for comparison in _COMPARISONS:
        above = rows.is_above(comparison.part, comparison.whole)
        if comparison.same_day_only:
            above &= same_day
        if comparison.unless_set and rows.has(comparison.unless_set):
            above &= ~rows.is_set(comparison.unless_set)
        yield issue(comparison.code, comparison.part), above
    yield from _conversion_consistency(rows, same_day)
    if rows.has("frequency", "reach", "impressions"):
        impressions = rows.floats("impressions")
        gap = np.abs(rows.floats("frequency") * rows.floats("reach") - impressions)
        yield (
            issue("FREQUENCY_MISMATCH", "frequency"),
            (impressions >= 100) & (gap > 0.05 * impressions),
        )
    if rows.has("sent", "delivered", "bounced"):
        sent, delivered = rows.floats("sent"), rows.floats("delivered")
        bounced = rows.floats("bounced")
        too_many = (delivered + bounced > sent) & (delivered <= sent) & (bounced <= sent)
        yield issue("DELIVERED_AND_BOUNCED_ABOVE_SENT", "delivered"), same_day & too_many
    without_views = rows.is_zero("impressions") & ~rows.is_positive("clicks")
    yield (
        issue("SPEND_WITHOUT_IMPRESSIONS", "spend_micros"),
        without_views & rows.is_positive("spend_micros"),
    )


def _conversion_consistency(rows: _Rows, same_day: _Mask) -> Iterator[_Finding]:
    conversions = rows.floats("conversions_micros")
    by_clicks = conversions - np.nan_to_num(rows.floats("view_through_conversions_micros"))
    clicks = 1e6 * rows.floats("clicks")
    unexplained = same_day & (by_clicks > clicks)
    yield issue("CONVERSIONS_ABOVE_CLICKS", "conversions_micros"), unexplained
    yield (
        issue("CONVERSIONS_ABOVE_CLICKS_BY_VIEWS", "conversions_micros"),
        same_day & (conversions > clicks) & ~unexplained,
    )
    yield (
        issue("REVENUE_WITHOUT_CONVERSIONS", "revenue_micros"),
        rows.is_positive("revenue_micros")
        & rows.is_zero("conversions_micros")
        & ~rows.is_positive("orders"),
    )


def _timeliness(rows: _Rows, today: date) -> Iterator[_Finding]:
    days = rows.column("date").cast(pa.int32()).to_numpy(zero_copy_only=False)
    today_number = (today - date(1970, 1, 1)).days
    unfinished = days >= today_number
    final = _as_mask(rows.column("final"))
    observed = ~rows.is_one_of("level", ("CONTROL",))
    open_ = ~final & ~unfinished & (days >= today_number - RESTATEMENT_DAYS)
    yield issue("FINAL_BEFORE_DAY_END", "final"), observed & unfinished & final
    yield issue("DAY_NOT_OVER", "date"), observed & unfinished
    yield issue("NOT_FINAL", "final"), observed & open_


def _uniqueness(rows: _Rows) -> Iterator[_Finding]:
    broken_down = _as_mask(pc.not_equal(rows.column("breakdown_key"), ""))
    if not broken_down.any():
        return
    # Small counts agree by chance; amounts of money to the micro hardly do.
    suspects = broken_down & (rows.is_positive("spend_micros") | rows.is_positive("revenue_micros"))
    numbers = [name for name in ADDITIVE_METRICS if rows.has(name)]
    key = [name for name in NATURAL_KEY if name != "breakdown_key"]
    repeated = rows.nowhere()
    repeated[_repeated_rows(rows.table, suspects, [*numbers, *key])] = True
    yield issue("REPEATED_NUMBERS", "breakdown_key"), repeated


def _repeated_rows(table: pa.Table, suspects: _Mask, names: Iterable[str]) -> npt.NDArray[np.int64]:
    """Return the suspects that agree with another suspect in all of the columns."""
    indexes = np.flatnonzero(suspects)
    codes = np.zeros(len(indexes), np.int64)
    for name in names:
        if not len(indexes):
            break
        values = table.column(name).take(pa.array(indexes)).combine_chunks()
        codes = _refine(codes, values)
        shared = np.bincount(codes)[codes] > 1
        indexes, codes = indexes[shared], codes[shared]
    return indexes
