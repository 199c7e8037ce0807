"""Documents: the same facts give the same text, and small changes give no new one."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.entry_fields import ADDITIVE_METRICS, LEVELS
from liftos_memory.domain.calendar import Hemisphere
from liftos_memory.domain.documents import (
    DocumentKind,
    ObjectKey,
    ObjectNames,
    ObjectProfileFacts,
    WeeklyFacts,
    content_hash,
    document_id,
    movement,
    profile_document,
    significant,
    week_of,
    weekly_document,
)
from liftos_memory.domain.lexical import lexical_terms

KEY = ObjectKey("meta", "CAMPAIGN", "act_1", campaign_id="77")
NAMES = ObjectNames(account_name="Acme", campaign_name="Spring_Sale 2024")
WEEK = WeeklyFacts(
    key=KEY,
    names=NAMES,
    channel="paid_social",
    currency_code="USD",
    week_start=date(2024, 11, 25),
    sums={
        "spend_micros": 1_250_500_000,
        "impressions": 45_000,
        "clicks": 890,
        "conversions_micros": 23_000_000,
    },
    prior_sums={"spend_micros": 700_000_000, "impressions": 46_000, "clicks": 1_000},
    calendar_labels=("Thanksgiving", "Black Friday"),
    quality_score=0.9,
)
PROFILE = ObjectProfileFacts(
    key=KEY,
    names=NAMES,
    channel="paid_social",
    currency_code="USD",
    first_date=date(2024, 1, 3),
    last_date=date(2024, 11, 30),
    days_with_data=70,
    sums={"spend_micros": 12_505_000_000, "impressions": 450_000, "revenue_micros": None},
    activity_by_month={1: 10, 5: 30, 11: 90},
)
SUMS = st.dictionaries(
    st.sampled_from(ADDITIVE_METRICS), st.none() | st.integers(0, 10**15), max_size=8
)


def test_weekly_digest_word_for_word() -> None:
    """The whole text of a digest."""
    document = weekly_document(WEEK)
    assert (
        document.title == "Meta (Facebook, Instagram) campaign “Spring_Sale 2024”, week 48 of 2024"
    )
    assert document.text == (
        "Meta (Facebook, Instagram) campaign “Spring_Sale 2024”, November 2024."
        " Thanksgiving, Black Friday. Moderate spend."
        " Rose sharply: spend. Fell slightly: clicks, click-through rate."
        " None before: conversions, cost per conversion.\n"
        "Week 48 of 2024, 25 November 2024 to 1 December 2024. Part of account “Acme”."
        " Channel: paid social."
        " Spend moderate, about 1300 USD, rose sharply;"
        " impressions moderate, about 45000, flat; clicks moderate, about 890, fell slightly;"
        " conversions moderate, about 23, none before;"
        " click-through rate usual, about 2 %, fell slightly;"
        " cost per click about 1.4 USD, rose sharply;"
        " cost per thousand impressions about 28 USD, rose sharply;"
        " conversion rate usual, about 2.6 %, none before;"
        " cost per conversion about 54 USD, none before."
    )
    assert document.embedded_text == document.text.split("\n")[0]
    assert (document.start_date, document.end_date) == (date(2024, 11, 25), date(2024, 12, 1))
    assert document.document_id.startswith("digest-2024w48-")
    assert {"2024w48", "20241125", "act1", "springsal"} <= set(document.lexical_text.split())


def test_profile_word_for_word() -> None:
    """The whole text of a profile."""
    assert profile_document(PROFILE).text == (
        "Profile of Meta (Facebook, Instagram) campaign “Spring_Sale 2024” of account “Acme”."
        " Channel: paid social. Moderate spend. Strongest in November (autumn).\n"
        "Active from January 2024 to November 2024."
        " In a usual week: spend moderate, about 1000 USD; impressions moderate, about 40000;"
        " cost per thousand impressions about 30 USD. Ids: act_1, 77."
    )


def test_unset_is_not_zero() -> None:
    """An unset metric is not named; a zero is."""
    text = weekly_document(replace(WEEK, sums={"spend_micros": None, "clicks": 0})).text
    assert "pend" not in text
    assert "Clicks none, stopped" in text
    assert "Stopped: clicks." in text


def test_the_first_line_tells_what_matters() -> None:
    """A first week, a quiet week, and a bad one read so."""
    assert "New this week." in weekly_document(replace(WEEK, prior_sums=None)).embedded_text
    assert "Little changed." in weekly_document(replace(WEEK, prior_sums=WEEK.sums)).embedded_text
    losing = {"spend_micros": 10**9, "revenue_micros": 10**8, "delivered": 1000, "opened": 10}
    text = weekly_document(replace(WEEK, sums=losing)).embedded_text
    assert "loss-making return on ad spend, low open rate" in text


def test_figures_do_not_change_what_is_embedded() -> None:
    """A number that stays in its level gives another text, but nothing new to embed."""
    sums = {**WEEK.sums, "spend_micros": 1_900_000_000}
    other = weekly_document(replace(WEEK, sums=sums))
    assert other.text != weekly_document(WEEK).text
    assert other.embedded_text == weekly_document(WEEK).embedded_text
    assert other.content_hash != weekly_document(WEEK).content_hash
    assert other.embedding_hash == weekly_document(WEEK).embedding_hash


def test_an_unfinished_week_is_not_compared() -> None:
    """Levels stay, movements go."""
    text = weekly_document(replace(WEEK, is_complete=False)).text
    assert "The week is not over." in text
    assert "rose" not in text
    assert "fell" not in text


def test_a_small_restatement_gives_no_new_text() -> None:
    """Figures are bucketed, so that a text is embedded once."""
    restated = {**WEEK.sums, "spend_micros": 1_251_900_000, "impressions": 45_120}
    assert weekly_document(replace(WEEK, sums=restated)) == weekly_document(WEEK)


def test_seasons_follow_the_hemisphere() -> None:
    """November is autumn in the north and spring in the south."""
    assert "November (autumn)" in profile_document(PROFILE).text
    south = replace(PROFILE, hemisphere=Hemisphere.SOUTHERN)
    assert "November (spring)" in profile_document(south).text


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_texts(level: str) -> None:
    """Each level is described, by name or else by id, and found by its ids."""
    key = ObjectKey("google_ads", level, "a-1", "c-2", "g-3", "d-4", "f-5", "m-6", "s-7")
    for document in (
        profile_document(replace(PROFILE, key=key, names=ObjectNames())),
        weekly_document(replace(WEEK, key=key, names=ObjectNames())),
    ):
        assert "“”" not in document.text
        assert {"a1", "c2", "g3", "d4", "f5", "m6", "s7"} <= set(document.lexical_text.split())


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        ("1250.5", 2, "1300"),
        ("1250", 2, "1200"),
        ("0.0197778", 1, "0.02"),
        ("99.6", 2, "100"),
        ("0", 2, "0"),
        ("1", 2, "1"),
        ("123456789", 1, "100000000"),
        ("-45.5", 2, "-46"),
    ],
)
def test_significant_digits(value: str, digits: int, text: str) -> None:
    """Half-even, without exponent."""
    assert significant(Decimal(value), digits) == text


@pytest.mark.parametrize(
    ("current", "prior", "words"),
    [
        ("100", None, "none before"),
        ("100", "0", "none before"),
        ("0", "0", "flat at none"),
        ("0", "5", "stopped"),
        ("104.9", "100", "flat"),
        ("95.1", "100", "flat"),
        ("105", "100", "rose slightly"),
        ("90", "100", "fell slightly"),
        ("115", "100", "rose"),
        ("140", "100", "rose sharply"),
        ("60", "100", "fell sharply"),
        ("-5", "-10", "rose sharply"),
    ],
)
def test_movement(current: str, prior: str | None, words: str) -> None:
    """Bounds belong to the larger movement."""
    assert movement(Decimal(current), None if prior is None else Decimal(prior)) == words


def test_ids_part_kinds_objects_and_weeks() -> None:
    """Every difference gives another id, also one of where parts are cut."""
    monday = date(2024, 11, 25)
    keys = [
        KEY,
        replace(KEY, account_id="act_17", campaign_id="7"),
        replace(KEY, campaign_id="", flow_id="77"),
        replace(KEY, platform="klaviyo"),
    ]
    ids = [document_id(DocumentKind.PROFILE, key) for key in keys]
    ids += [
        document_id(DocumentKind.WEEKLY_DIGEST, key, week_start=monday + timedelta(weeks=week))
        for key in keys
        for week in (0, 1)
    ]
    assert len(set(ids)) == len(ids)


def test_wrong_facts_are_refused() -> None:
    """A level that does not exist, no platform, and a week that begins on a Tuesday."""
    with pytest.raises(ValueError, match="level 'BANNER'"):
        ObjectKey("meta", "BANNER", "1")
    with pytest.raises(ValueError, match="platform"):
        ObjectKey("", "ACCOUNT", "1")
    with pytest.raises(ValueError, match="no Monday"):
        weekly_document(replace(WEEK, week_start=date(2024, 11, 26)))


@given(SUMS, st.none() | SUMS, st.booleans())
def test_any_sums_give_a_stable_text(
    sums: dict[str, int | None], prior: dict[str, int | None] | None, is_complete: bool
) -> None:
    """Any sums can be told, twice the same, without exponents or artefacts."""
    facts = replace(WEEK, sums=sums, prior_sums=prior, is_complete=is_complete)
    document = weekly_document(facts)
    assert document == weekly_document(replace(facts, sums=dict(reversed(sums.items()))))
    assert document.content_hash == content_hash(document.text)
    assert "E+" not in document.text
    assert "  " not in document.text
    assert document.text.count("\n") == 1
    assert set(lexical_terms(document.text)) <= set(document.lexical_text.split())


@given(st.dates(date(1970, 1, 5), date(2100, 1, 1)))
def test_an_id_of_a_digest_tells_its_week(day: date) -> None:
    """And that of no other document does."""
    monday = day - timedelta(days=day.weekday())
    assert week_of(document_id(DocumentKind.WEEKLY_DIGEST, KEY, week_start=monday)) == monday
    assert week_of(document_id(DocumentKind.PROFILE, KEY)) is None
    assert week_of("note-digest-2024w01-x") is None
