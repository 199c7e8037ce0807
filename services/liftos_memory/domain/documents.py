"""Documents: what search finds. One text per object, and one per object and ISO week.

Texts of records, which modules write, are made in `record_documents`. All others have two lines.
The first says in few words what it is about, how large it is and what moved; it is what a model
embeds, because a model's time grows with every word and numbers mean nothing to it. The second
holds the figures and the rest, for people and for the lexical leg.

Texts are deterministic, and numbers in them are bucketed: figures keep one or two significant
digits, movements become words. The same state of the world gives the same text, byte for byte, and
a small restatement gives no new one, so each text is embedded once and found by its hash.

Numbers in a text are for finding only. What a reader is shown is computed from the entries.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from enum import Enum
from typing import Final

from liftos_mapping.entry_fields import LEVELS
from liftos_memory.domain.calendar import Hemisphere
from liftos_memory.domain.derived_metrics import derive
from liftos_memory.domain.lexical import lexical_text

Sums = Mapping[str, int | None]
"""Additive metrics by name, as in ADDITIVE_METRICS; absent and None are unset."""


class DocumentKind(Enum):
    """What a document describes; the names are those of the contract."""

    PROFILE = "PROFILE"
    WEEKLY_DIGEST = "WEEKLY_DIGEST"
    INSIGHT = "INSIGHT"
    ARTIFACT = "ARTIFACT"
    NOTE = "NOTE"


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """A platform object below its org; ids that do not belong to its level are empty.

    Raises:
        ValueError: The level is unknown or the platform is empty.
    """

    platform: str
    level: str
    account_id: str
    campaign_id: str = ""
    ad_group_id: str = ""
    ad_id: str = ""
    flow_id: str = ""
    message_id: str = ""
    series_id: str = ""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level {self.level!r} is none of {', '.join(LEVELS)}")
        if not self.platform:
            raise ValueError("an object belongs to a platform; none was given")


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """Names of an object and of what it belongs to; empty where unknown."""

    account_name: str = ""
    campaign_name: str = ""
    ad_group_name: str = ""
    ad_name: str = ""
    flow_name: str = ""
    message_name: str = ""
    series_name: str = ""


@dataclass(frozen=True, slots=True)
class ObjectProfileFacts:
    """What is known of an object over its whole life.

    Attributes:
        key: The object.
        names: Its newest names.
        channel: Its channel; empty where unknown.
        currency_code: ISO code of its money; empty where unknown.
        first_date: Its first day with data.
        last_date: Its last day with data.
        days_with_data: How many days have data, at least 1.
        sums: Sums of additive metrics over all days.
        activity_by_month: Size by calendar month 1 to 12, all years together: spend, or what the
            caller takes for it where there is none. Months without data are absent.
        hemisphere: Whose seasons to name.
        quality_score: The lowest among its entries, 0 to 1; None where unknown.
        recent_activity: Its size over the 28 days up to its last one.
        prior_activity: Its size over the 28 days before those; None without data there.
        weekly_variation: Standard deviation over mean of its weeks, up to 26 counted back from its
            last day; None for fewer than two.
    """

    key: ObjectKey
    names: ObjectNames
    channel: str
    currency_code: str
    first_date: date
    last_date: date
    days_with_data: int
    sums: Sums
    activity_by_month: Mapping[int, int]
    hemisphere: Hemisphere = Hemisphere.NORTHERN
    quality_score: float | None = None
    recent_activity: float | None = None
    prior_activity: float | None = None
    weekly_variation: float | None = None


@dataclass(frozen=True, slots=True)
class WeeklyFacts:
    """What is known of an object in one ISO week.

    Attributes:
        key: The object.
        names: Its names in that week.
        channel: Its channel; empty where unknown.
        currency_code: ISO code of its money; empty where unknown.
        week_start: The Monday.
        sums: Sums of additive metrics over the week.
        prior_sums: Sums of the week before; None where it has no data.
        is_complete: False while days of the week are still to come; then nothing is compared.
        calendar_labels: Holidays, retail and own events of the week, in the order to name them.
        quality_score: The lowest among its entries, 0 to 1; None where unknown.
    """

    key: ObjectKey
    names: ObjectNames
    channel: str
    currency_code: str
    week_start: date
    sums: Sums
    prior_sums: Sums | None
    is_complete: bool = True
    calendar_labels: Sequence[str] = ()
    quality_score: float | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A text about something, ready to be embedded and indexed.

    Attributes:
        document_id: Deterministic id below the org.
        kind: What it describes.
        key: The object, or None where it is about none.
        week_start: The Monday of a digest, else None.
        start_date: First day that it is about.
        end_date: Last day that it is about.
        title: One line.
        text: What is found and shown; `embedded_text` is taken from it.
        lexical_text: Terms of title, text, ids and week, as the lexical leg matches them. The text
            begins with the title, whose terms therefore weigh double.
        content_hash: 32 hexadecimal digits; equal texts of a kind have equal hashes.
        quality_score: The lowest among its entries, 0 to 1; None where it rests on none.
        scope: Module or context of a record, else empty.
        record: The record below its org, such as `notes/weekly-review`; empty where it rests on
            entries.
    """

    document_id: str
    kind: DocumentKind
    key: ObjectKey | None
    week_start: date | None
    start_date: date
    end_date: date
    title: str
    text: str
    lexical_text: str
    content_hash: str
    quality_score: float | None
    scope: str = ""
    record: str = ""

    @property
    def embedded_text(self) -> str:
        """What stands for the document in the neural leg.

        The first line of an object's text; of a record's as much as a model may read.
        """
        if self.record:
            return " ".join(self.text[: 2 * _EMBEDDED_CHARACTERS].split())[:_EMBEDDED_CHARACTERS]
        return self.text.partition("\n")[0]

    @property
    def embedding_hash(self) -> str:
        """The hash of `embedded_text`, under which its vector is kept."""
        return content_hash(self.embedded_text)


def profile_document(facts: ObjectProfileFacts) -> Document:
    """Write the profile of an object."""
    subject = _subject(facts.key, facts.names)
    numbers = _typical_numbers(facts)
    summary = [
        f"Profile of {subject}{_hierarchy(facts.key, facts.names)}.",
        *_channel(facts.channel),
        *_told_levels(numbers),
        *_main_season(facts.activity_by_month, facts.hemisphere),
    ]
    details = [
        f"Active from {_month_of(facts.first_date)} to {_month_of(facts.last_date)}.",
        *_figures("In a usual week: ", numbers, facts.currency_code, digits=1, is_compared=False),
        f"Ids: {', '.join(_ids(facts.key))}.",
    ]
    return _document(
        DocumentKind.PROFILE,
        facts.key,
        week_start=None,
        start_date=facts.first_date,
        end_date=facts.last_date,
        title=_capitalised(subject),
        text=f"{' '.join(summary)}\n{' '.join(details)}",
        quality_score=facts.quality_score,
    )


def weekly_document(facts: WeeklyFacts) -> Document:
    """Write the digest of an object's week.

    Raises:
        ValueError: `week_start` is no Monday.
    """
    if facts.week_start.weekday() != 0:
        raise ValueError(f"week_start {facts.week_start} is no Monday")
    subject = _subject(facts.key, facts.names)
    week_end = facts.week_start + timedelta(days=6)
    iso = facts.week_start.isocalendar()
    title = f"{_capitalised(subject)}, week {iso.week} of {iso.year}"
    numbers = _week_numbers(facts)
    summary = [
        f"{_capitalised(subject)}, {_month_of(facts.week_start)}.",
        *([f"{', '.join(map(_line, facts.calendar_labels))}."] if facts.calendar_labels else []),
        *_told_levels(numbers),
        *(_told_movements(numbers) if facts.is_complete else ["The week is not over."]),
    ]
    details = [
        f"Week {iso.week} of {iso.year}, {_day(facts.week_start)} to {_day(week_end)}.",
        *([f"Part{above}."] if (above := _hierarchy(facts.key, facts.names)) else []),
        *_channel(facts.channel),
        *_figures("", numbers, facts.currency_code, digits=2, is_compared=facts.is_complete),
    ]
    return _document(
        DocumentKind.WEEKLY_DIGEST,
        facts.key,
        week_start=facts.week_start,
        start_date=facts.week_start,
        end_date=week_end,
        title=title,
        text=f"{' '.join(summary)}\n{' '.join(details)}",
        quality_score=facts.quality_score,
        extra_words=(f"{iso.year}-W{iso.week:02d}", facts.week_start.isoformat()),
    )


def document_id(kind: DocumentKind, key: ObjectKey, *, week_start: date | None = None) -> str:
    """Return the id of an object's document, `profile-…` or `digest-2024w48-…`.

    The digits are BLAKE2b-128 over kind and key with their lengths, so that no two keys collide by
    how they are joined.
    """
    parts = [kind.value, *(str(getattr(key, field.name)) for field in fields(key))]
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    if week_start is None:
        return f"{kind.value.lower()}-{digest.hexdigest()}"
    iso = week_start.isocalendar()
    return f"digest-{iso.year:04d}w{iso.week:02d}-{digest.hexdigest()}"


def week_of(document_id: str) -> date | None:
    """Return the Monday of the week that an id of a digest names; None for other documents."""
    named = _DIGEST_ID.match(document_id)
    return date.fromisocalendar(int(named[1]), int(named[2]), 1) if named else None


def own_name(key: ObjectKey, names: ObjectNames) -> str:
    """Return the name of an object itself, empty where it has none."""
    return str(getattr(names, f"{_LEVEL_FIELD[key.level]}_name"))


def own_id(key: ObjectKey) -> str:
    """Return the id of an object itself, without those of what it belongs to."""
    return str(getattr(key, f"{_LEVEL_FIELD[key.level]}_id"))


def content_hash(text: str) -> str:
    """Return BLAKE2b-128 of a text, as 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def significant(value: Decimal, digits: int) -> str:
    """Return a number with `digits` significant digits, half-even, without exponent or commas."""
    if value == 0:
        return "0"
    quantum = Decimal(1).scaleb(value.adjusted() - digits + 1)
    rounded = value.quantize(quantum, rounding=ROUND_HALF_EVEN)
    text = f"{rounded:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def movement(current: Decimal, prior: Decimal | None) -> str:
    """Put a change against the week before into words.

    Below 5 % either way is flat, below 15 % slight, from 40 % sharp. A prior of 0 or None is "none
    before".
    """
    if not prior:
        return "flat at none" if prior is not None and current == 0 else "none before"
    if current == 0:
        return "stopped"
    change = (current - prior) / abs(prior)
    size = abs(change)
    if size < Decimal("0.05"):
        return "flat"
    verb = "rose" if change > 0 else "fell"
    if size < Decimal("0.15"):
        return f"{verb} slightly"
    return verb if size < Decimal("0.4") else f"{verb} sharply"


_DIGEST_ID: Final = re.compile(r"digest-(\d{4})w(\d\d)-")


@dataclass(frozen=True, slots=True)
class _Measure:
    """A number as texts name it.

    Attributes:
        name: The sum's or ratio's.
        words: What texts call it.
        unit: Money, percent or nothing.
        bounds: Where one level ends and the next begins; sums are per week.
        levels: Words for the levels, one more than bounds.
        moves: Whether the first line tells its movement.
        sizes: Whether the first line tells its level.
    """

    name: str
    words: str
    unit: str = ""
    bounds: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    moves: bool = False
    sizes: bool = False


_SIZES: Final = ("tiny", "small", "moderate", "large", "very large")
_RATES: Final = ("low", "usual", "high")
_MONEY: Final = "money"
_PERCENT: Final = "percent"
_RETURNS: Final = ("loss-making", "modest", "good", "excellent")
_VOLUME: Final = ("100", "1000", "10000", "100000")
_ACTIONS: Final = ("10", "100", "1000", "10000")
_CONVERSIONS: Final = ("1", "10", "100", "1000")

_ADDITIVE: Final = (
    _Measure("spend_micros", "spend", _MONEY, _VOLUME, _SIZES, moves=True, sizes=True),
    _Measure("impressions", "impressions", "", ("1000", "10000", "100000", "1000000"), _SIZES),
    _Measure("clicks", "clicks", "", _ACTIONS, _SIZES, moves=True),
    _Measure("conversions_micros", "conversions", "", _CONVERSIONS, _SIZES, moves=True),
    _Measure("revenue_micros", "revenue", _MONEY, _VOLUME, _SIZES, moves=True, sizes=True),
    _Measure("orders", "orders", "", _CONVERSIONS, _SIZES, moves=True),
    _Measure("delivered", "emails delivered", "", _VOLUME, _SIZES, moves=True, sizes=True),
    _Measure("opened", "email opens", "", _ACTIONS, _SIZES),
    _Measure("clicked", "email clicks", "", _ACTIONS, _SIZES, moves=True),
    _Measure("value_micros", "value", moves=True),
)
"""Sums that texts name. Levels are words for sizes, not judgements."""

_RATIOS: Final = (
    _Measure("ctr", "click-through rate", _PERCENT, ("0.005", "0.02"), _RATES, moves=True),
    _Measure("cpc", "cost per click", _MONEY),
    _Measure("cpm", "cost per thousand impressions", _MONEY),
    _Measure("conversion_rate", "conversion rate", _PERCENT, ("0.01", "0.04"), _RATES, sizes=True),
    _Measure("cost_per_conversion", "cost per conversion", _MONEY, moves=True),
    _Measure("roas", "return on ad spend", "", ("1", "2", "4"), _RETURNS, moves=True, sizes=True),
    _Measure("open_rate", "open rate", _PERCENT, ("0.15", "0.35"), _RATES, moves=True, sizes=True),
    _Measure("click_rate", "email click rate", _PERCENT, ("0.01", "0.04"), _RATES),
    _Measure(
        "unsubscribe_rate", "unsubscribe rate", _PERCENT, ("0.001", "0.005"), _RATES, sizes=True
    ),
)
"""Ratios of sums that texts name."""

_MOVEMENTS: Final = (
    *("rose sharply", "rose", "rose slightly"),
    *("fell slightly", "fell", "fell sharply", "stopped", "none before"),
)
"""Movements in the order in which the first line tells them; flat ones go without saying."""

_MICROS: Final = Decimal(1_000_000)
_EMBEDDED_CHARACTERS: Final = 2_000
"""Models of sentences read some 256 word pieces, which are fewer characters."""

_PLATFORM_WORDS: Final[Mapping[str, str]] = {
    "meta": "Meta (Facebook, Instagram)",
    "google_ads": "Google Ads",
    "klaviyo": "Klaviyo email",
    "offline": "offline media",
    "commerce": "commerce",
}
_LEVEL_WORDS: Final[Mapping[str, str]] = {
    "ACCOUNT": "account",
    "CAMPAIGN": "campaign",
    "AD_GROUP": "ad group",
    "AD": "ad",
    "FLOW": "flow",
    "MESSAGE": "message",
    "OUTCOME": "business outcome",
    "CONTROL": "outside series",
}
_LEVEL_FIELD: Final[Mapping[str, str]] = {
    "ACCOUNT": "account",
    "CAMPAIGN": "campaign",
    "AD_GROUP": "ad_group",
    "AD": "ad",
    "FLOW": "flow",
    "MESSAGE": "message",
    "OUTCOME": "account",
    "CONTROL": "series",
}
_HIERARCHY: Final = ("account", "campaign", "ad_group", "flow")
_ID_FIELDS: Final = tuple(
    field.name for field in fields(ObjectKey) if field.name not in ("platform", "level")
)
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SEASONS: Final = ("winter", "spring", "summer", "autumn")
_MAIN_MONTH_SHARE: Final = Decimal("1.25")
"""A month is a main month from 1.25 times the average of the months with data."""


def _document(
    kind: DocumentKind,
    key: ObjectKey,
    *,
    week_start: date | None,
    start_date: date,
    end_date: date,
    title: str,
    text: str,
    quality_score: float | None,
    extra_words: Sequence[str] = (),
) -> Document:
    return Document(
        document_id=document_id(kind, key, week_start=week_start),
        kind=kind,
        key=key,
        week_start=week_start,
        start_date=start_date,
        end_date=end_date,
        title=title,
        text=text,
        lexical_text=lexical_text("\n".join((title, text, *_ids(key), *extra_words))),
        content_hash=content_hash(text),
        quality_score=quality_score,
    )


def _platform(platform: str) -> str:
    return _PLATFORM_WORDS.get(platform, platform.replace("_", " "))


def _subject(key: ObjectKey, names: ObjectNames) -> str:
    name = own_name(key, names) or own_id(key)
    return f"{_platform(key.platform)} {_LEVEL_WORDS[key.level]} “{_line(name)}”"


def _hierarchy(key: ObjectKey, names: ObjectNames) -> str:
    own = _LEVEL_FIELD[key.level]
    above = [
        f" of {part.replace('_', ' ')} “{_line(name)}”"
        for part in reversed(_HIERARCHY)
        if part != own and (name := getattr(names, f"{part}_name") or getattr(key, f"{part}_id"))
    ]
    return "".join(above)


def _channel(channel: str) -> list[str]:
    return [f"Channel: {_line(channel.replace('_', ' '))}."] if channel else []


def _ids(key: ObjectKey) -> list[str]:
    return [value for name in _ID_FIELDS if (value := getattr(key, name))]


_Number = tuple[_Measure, Decimal, Decimal | None]
"""What was measured, how much, and how much the week before; None where it is not known."""


def _typical_numbers(facts: ObjectProfileFacts) -> list[_Number]:
    weeks = Decimal(max(facts.days_with_data, 1)) / 7
    sums: list[_Number] = [
        (measure, total / weeks, None)
        for measure in _ADDITIVE
        if (total := _amount(facts.sums, measure.name)) is not None
    ]
    return sums + [(measure, value, None) for measure, value in _defined_ratios(facts.sums)]


def _week_numbers(facts: WeeklyFacts) -> list[_Number]:
    prior_sums = facts.prior_sums or {}
    sums: list[_Number] = [
        (measure, total, _amount(prior_sums, measure.name))
        for measure in _ADDITIVE
        if (total := _amount(facts.sums, measure.name)) is not None
    ]
    prior_ratios = dict(_defined_ratios(prior_sums))
    return sums + [
        (measure, value, prior_ratios.get(measure))
        for measure, value in _defined_ratios(facts.sums)
    ]


def _told_levels(numbers: Sequence[_Number]) -> list[str]:
    """Tell what is large, small, good or bad; what is usual goes without saying."""
    told = [
        f"{level} {measure.words}"
        for measure, value, _ in numbers
        if measure.sizes and value and (level := _level(measure, value)) != "usual"
    ]
    return [f"{_capitalised(', '.join(told))}."] if told else []


def _told_movements(numbers: Sequence[_Number]) -> list[str]:
    moved: dict[str, list[str]] = {}
    for measure, value, before in numbers:
        if measure.moves:
            moved.setdefault(movement(value, before), []).append(measure.words)
    if not moved:
        return []
    if set(moved) == {"none before"}:
        return ["New this week."]
    told = [f"{_capitalised(how)}: {', '.join(moved[how])}." for how in _MOVEMENTS if how in moved]
    return told or ["Little changed."]


def _figures(
    heading: str,
    numbers: Sequence[_Number],
    currency_code: str,
    *,
    digits: int,
    is_compared: bool,
) -> list[str]:
    phrases = [
        _level_phrase(measure, value, currency_code, digits=digits)
        + (f", {movement(value, before)}" if is_compared else "")
        for measure, value, before in numbers
    ]
    return [_capitalised(f"{heading}{'; '.join(phrases)}.")] if phrases else []


def _level(measure: _Measure, value: Decimal) -> str:
    return measure.levels[sum(value >= Decimal(bound) for bound in measure.bounds)]


def _level_phrase(measure: _Measure, value: Decimal, currency_code: str, *, digits: int) -> str:
    if value == 0:
        return f"{measure.words} none"
    figure = significant(value * 100 if measure.unit == _PERCENT else value, digits)
    unit = {_PERCENT: " %", _MONEY: f" {currency_code}".rstrip()}.get(measure.unit, "")
    level = f"{_level(measure, value)}, " if measure.levels else ""
    return f"{measure.words} {level}about {figure}{unit}"


def _amount(sums: Sums, name: str) -> Decimal | None:
    value = sums.get(name)
    if value is None:
        return None
    return Decimal(value) / _MICROS if name.endswith("_micros") else Decimal(value)


def _defined_ratios(sums: Sums) -> list[tuple[_Measure, Decimal]]:
    derived = derive(sums)
    return [
        (measure, Decimal(value))
        for measure in _RATIOS
        if (value := derived[measure.name]) is not None
    ]


def _main_season(activity_by_month: Mapping[int, int], hemisphere: Hemisphere) -> list[str]:
    active = {month: size for month, size in sorted(activity_by_month.items()) if size > 0}
    if len(active) < 2:
        return []
    average = Decimal(sum(active.values())) / len(active)
    strongest = sorted(active, key=lambda month: (-active[month], month))
    main = [m for m in strongest if active[m] >= _MAIN_MONTH_SHARE * average][:3]
    if not main:
        return ["Even over the year."]
    names = ", ".join(_MONTHS[month - 1] for month in main)
    return [f"Strongest in {names} ({_season(main[0], hemisphere)})."]


def _season(month: int, hemisphere: Hemisphere) -> str:
    """Return the meteorological season: winter in the north is December to February."""
    shift = 0 if hemisphere is Hemisphere.NORTHERN else 2
    return _SEASONS[(month % 12 // 3 + shift) % 4]


def _month_of(day: date) -> str:
    return f"{_MONTHS[day.month - 1]} {day.year}"


def _day(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
