"""The truth behind the simulators: exact, repeatable, restated and never lost."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_platforms.truth import (
    ARRIVAL_BASIS,
    GRAIN_METRICS,
    LATE_DAYS,
    LEVELS,
    Account,
    Channel,
    EntityState,
    Level,
    Metric,
    Platform,
    Row,
    accounts_of,
    at,
    day_bounds,
    entities_of,
    local_day,
    minor_unit_micros,
    rows,
    split,
    with_account,
    with_entity,
)
from liftos_platforms.worlds import WorldPlan, build_world

PLAN = WorldPlan(first_day=date(2026, 9, 1), last_day=date(2026, 9, 30), sends=8)
WORLD = build_world(PLAN)
LONG_AFTER = datetime(2027, 6, 1, tzinfo=UTC)
DAYS = [PLAN.first_day + timedelta(days=day) for day in range(30)]
READABLE = [
    account
    for platform in Platform
    for account in accounts_of(WORLD, platform)
    if any(entity.is_leaf for entity in WORLD.entities[account.key])
]
EVERY_STATE = frozenset(EntityState)

accounts = st.sampled_from(READABLE)
days = st.sampled_from(DAYS)
moments = st.integers(0, 160 * 24).map(
    lambda hours: datetime(2026, 8, 25, tzinfo=UTC) + timedelta(hours=hours)
)


def total(found: Iterable[Row], metric: Metric) -> int:
    """One metric over rows."""
    return sum(row.metrics.get(metric, 0) for row in found)


def of(platform: Platform, account_id: str) -> Account:
    """An account of the world."""
    return WORLD.accounts[platform, account_id]


@given(accounts, days, moments)
def test_levels_agree(account: Account, day: date, now: datetime) -> None:
    """Every additive figure of an account is the sum of each level's, once nothing is hidden."""
    whole = rows(WORLD, account, level=Level.ACCOUNT, day=day, now=now)
    if account.platform is Platform.KLAVIYO:
        sums = [(Level.CAMPAIGN, Level.FLOW), (Level.MESSAGE,)]
    else:
        sums = [(Level.CAMPAIGN,)]
    for levels in sums:
        parts = [
            row
            for level in levels
            for row in rows(WORLD, account, level=level, day=day, now=now, states=EVERY_STATE)
        ]
        for metric in set(Metric) - GRAIN_METRICS:
            assert total(parts, metric) == total(whole, metric)


@given(days, moments)
def test_ads_and_campaigns_without_ads_make_the_account(day: date, now: datetime) -> None:
    """On Google the ads fall short of the account by exactly the Performance Max campaigns."""
    account = of(Platform.GOOGLE_ADS, "1112223331")
    ads = rows(WORLD, account, level=Level.AD, day=day, now=now)
    campaigns = rows(WORLD, account, level=Level.CAMPAIGN, day=day, now=now)
    without_ads = [
        row for row in campaigns if row.entity and row.entity.channel is Channel.PERFORMANCE_MAX
    ]
    assert total(ads, Metric.SPEND_MICROS) + total(without_ads, Metric.SPEND_MICROS) == total(
        campaigns, Metric.SPEND_MICROS
    )


@pytest.mark.parametrize("platform", list(ARRIVAL_BASIS))
def test_both_date_bases_sum_to_the_same(platform: Platform) -> None:
    """Over all days, numbers dated by cohort and by arrival are the same to the micro."""
    account = next(account for account in READABLE if account.platform is platform)
    level = Level.MESSAGE if platform is Platform.KLAVIYO else Level.CAMPAIGN
    late = LATE_DAYS[platform]
    by_arrival = [
        row
        for day in range(30 + late)
        for row in rows(
            WORLD,
            account,
            level=level,
            day=PLAN.first_day + timedelta(days=day),
            now=LONG_AFTER,
            date_basis=ARRIVAL_BASIS[platform],
        )
    ]
    by_cohort = [
        row for day in DAYS for row in rows(WORLD, account, level=level, day=day, now=LONG_AFTER)
    ]
    assert total(by_cohort, Metric.CONVERSIONS_MICROS) > 0
    for metric in (Metric.CONVERSIONS_MICROS, Metric.REVENUE_MICROS):
        assert total(by_arrival, metric) == total(by_cohort, metric)


@given(accounts, days)
def test_a_day_is_final_after_its_late_days(account: Account, day: date) -> None:
    """Nothing moves after a platform's late days, and no level may say otherwise."""
    _, end = day_bounds(account, day + timedelta(days=LATE_DAYS[account.platform]))
    for level in LEVELS[account.platform]:
        settled = rows(WORLD, account, level=level, day=day, now=end, states=EVERY_STATE)
        later = rows(WORLD, account, level=level, day=day, now=LONG_AFTER, states=EVERY_STATE)
        assert [row.metrics for row in settled] == [row.metrics for row in later]


@given(accounts, days, moments, st.timedeltas(timedelta(), timedelta(days=40)))
def test_late_numbers_never_fall_while_a_row_lives(
    account: Account, day: date, now: datetime, step: timedelta
) -> None:
    """Conversions only come in; what takes them away is a cohort that vanishes as a whole."""
    before = rows(WORLD, account, level=LEVELS[account.platform][-1], day=day, now=now)
    after = {
        row.entity.entity_id: row
        for row in rows(WORLD, account, level=LEVELS[account.platform][-1], day=day, now=now + step)
        if row.entity
    }
    for row in before:
        assert row.entity
        later = after.get(row.entity.entity_id)
        if later is not None:
            for metric in (Metric.CONVERSIONS_MICROS, Metric.REVENUE_MICROS):
                assert row.metrics.get(metric, 0) <= later.metrics.get(metric, 0)


def test_spend_is_restated_and_then_exact() -> None:
    """Spend moves for three days after its own, and is exact from then on."""
    account, day = of(Platform.META, "1001"), date(2026, 9, 10)
    _, end = day_bounds(account, day)
    spends = [
        total(
            rows(WORLD, account, level=Level.ACCOUNT, day=day, now=end + timedelta(days=age)),
            Metric.SPEND_MICROS,
        )
        for age in range(6)
    ]
    assert len(set(spends[:4])) == 4
    assert len(set(spends[3:])) == 1


def test_some_rows_vanish() -> None:
    """A few cohorts are taken back on the second day after, and their rows with them."""
    account = of(Platform.META, "1001")
    vanished = 0
    for day in DAYS:
        _, end = day_bounds(account, day)
        ids = [
            {
                row.ad_id
                for row in rows(
                    WORLD, account, level=Level.AD, day=day, now=now, states=EVERY_STATE
                )
            }
            for now in (end, end + timedelta(days=2))
        ]
        vanished += len(ids[0] - ids[1])
    assert 0 < vanished < 30


@given(days, moments)
def test_people_are_counted_once(day: date, now: datetime) -> None:
    """The reach of a campaign is at least its largest ad's and less than the sum of its ads'."""
    account = of(Platform.META, "1001")
    ads = rows(WORLD, account, level=Level.AD, day=day, now=now, states=EVERY_STATE)
    for row in rows(WORLD, account, level=Level.CAMPAIGN, day=day, now=now):
        assert row.entity
        reaches = [ad.metrics[Metric.REACH] for ad in ads if ad.campaign_id == row.entity.entity_id]
        assert max(reaches) <= row.metrics[Metric.REACH] <= sum(reaches)


@given(accounts, days, moments)
def test_money_comes_in_the_smallest_unit_of_its_currency(
    account: Account, day: date, now: datetime
) -> None:
    """No amount is finer than a cent, or than a yen in Japan."""
    unit = minor_unit_micros(account.currency_code)
    for row in rows(WORLD, account, level=LEVELS[account.platform][-1], day=day, now=now):
        assert all(
            value % unit == 0
            for metric, value in row.metrics.items()
            if metric in {Metric.SPEND_MICROS, Metric.REVENUE_MICROS}
        )


@given(days, moments)
def test_what_meta_calls_default_is_the_sum_of_its_windows(day: date, now: datetime) -> None:
    """Conversions by default are those 7 days after a click and 1 day after a view."""
    for row in rows(WORLD, of(Platform.META, "1003"), level=Level.AD, day=day, now=now):
        for stem in ("conversions", "revenue"):
            windows = (f"{stem}_7d_click_micros", f"{stem}_1d_view_micros")
            assert row.metrics.get(Metric(f"{stem}_micros"), 0) == sum(
                row.metrics.get(Metric(window), 0) for window in windows
            )


def test_the_same_seed_is_the_same_world() -> None:
    """Two worlds of one plan answer alike, and another seed answers otherwise."""
    account, day = of(Platform.META, "1001"), DAYS[5]
    found = [
        [row.metrics for row in rows(world, account, level=Level.AD, day=day, now=LONG_AFTER)]
        for world in (WORLD, build_world(PLAN), build_world(replace(PLAN, seed=8)))
    ]
    assert found[0] == found[1] != found[2]


def test_a_day_that_has_not_begun_has_no_rows() -> None:
    """In Tonga it is already the next day while Europe still has this one."""
    now = datetime(2026, 9, 10, 12, tzinfo=UTC)
    tonga, berlin = of(Platform.META, "1004"), of(Platform.META, "1001")
    assert local_day(tonga, now) == date(2026, 9, 11)
    assert rows(WORLD, tonga, level=Level.AD, day=date(2026, 9, 11), now=now)
    assert not rows(WORLD, berlin, level=Level.AD, day=date(2026, 9, 11), now=now)


def test_days_follow_the_clocks_of_the_account() -> None:
    """The day on which the clocks go back has 25 hours."""
    begin, end = day_bounds(of(Platform.META, "1001"), date(2026, 10, 25))
    assert end - begin == timedelta(hours=25)


def test_a_moved_ad_takes_no_past_with_it() -> None:
    """Days before a move stay with the old campaign, days after it go to the new one."""
    account = of(Platform.META, "1001")
    ads = [e for e in WORLD.entities[account.key] if len(e.parent) == 2]
    assert len(ads) == 1
    campaigns = {
        day: row.campaign_id
        for day in DAYS
        for row in rows(WORLD, account, level=Level.AD, day=day, now=LONG_AFTER)
        if row.ad_id == ads[0].entity_id
    }
    before = {campaign for day, campaign in campaigns.items() if day < PLAN.middle}
    after = {campaign for day, campaign in campaigns.items() if day >= PLAN.middle}
    assert len(before) == len(after) == 1
    assert before != after


def test_meta_hides_deleted_ads_and_counts_them_above() -> None:
    """An ad that is deleted leaves the list of ads on that day, also for days before."""
    account, day = of(Platform.META, "1001"), DAYS[3]
    _, just_before = day_bounds(account, PLAN.middle - timedelta(days=1))
    later = just_before + timedelta(hours=1)
    shown_before = rows(
        WORLD, account, level=Level.AD, day=day, now=just_before - timedelta(hours=1)
    )
    shown = rows(WORLD, account, level=Level.AD, day=day, now=later)
    every = rows(WORLD, account, level=Level.AD, day=day, now=later, states=EVERY_STATE)
    assert len(shown_before) == len(every) > len(shown)
    campaigns = rows(WORLD, account, level=Level.CAMPAIGN, day=day, now=later)
    assert total(campaigns, Metric.SPEND_MICROS) == total(every, Metric.SPEND_MICROS)


def test_names_are_todays() -> None:
    """A renamed campaign has its new name on old days too."""
    account = of(Platform.META, "1001")
    renamed = next(e for e in WORLD.entities[account.key] if len(e.name) == 2)
    assert not at(renamed.name, PLAN.first_day).endswith("(renamed)")
    assert at(renamed.name, PLAN.middle).endswith("(renamed)")
    assert renamed.changed_on(PLAN.last_day) == PLAN.middle


def test_an_entity_is_listed_from_its_creation_on() -> None:
    """An ad that is created late is unknown before."""
    account = of(Platform.META, "1001")
    _, eve = day_bounds(account, PLAN.middle - timedelta(days=2))
    before = entities_of(WORLD, account, now=eve, level=Level.AD)
    after = entities_of(WORLD, account, now=LONG_AFTER, level=Level.AD)
    assert len(after) == len(before) + 1


def test_email_has_no_spend_and_texts_have() -> None:
    """What a platform does not measure is missing, not zero."""
    account = of(Platform.KLAVIYO, "KLvEU1")
    found = [
        row
        for day in DAYS
        for row in rows(WORLD, account, level=Level.MESSAGE, day=day, now=LONG_AFTER)
    ]
    for row in found:
        assert row.entity
        assert (Metric.SPEND_MICROS in row.metrics) == (row.entity.channel is Channel.SMS)
    assert {row.entity.channel for row in found if row.entity} == {Channel.EMAIL, Channel.SMS}


def test_a_changed_world_leaves_the_old_one_alone() -> None:
    """Changes make a new world."""
    account = of(Platform.META, "1001")
    ad = next(entity for entity in WORLD.entities[account.key] if entity.level is Level.AD)
    changed = with_account(WORLD, replace(account, currency_code="CHF"))
    changed = with_entity(changed, replace(ad, state=((DAYS[0], EntityState.DELETED),)))
    assert WORLD.accounts[account.key].currency_code == "EUR"
    assert len(changed.entities[account.key]) == len(WORLD.entities[account.key])
    shown = rows(changed, account, level=Level.AD, day=DAYS[3], now=LONG_AFTER)
    assert ad.entity_id not in {row.ad_id for row in shown}


@given(st.integers(0, 10**12), st.integers(1, 200), st.integers(0, 2**64 - 1))
def test_a_split_loses_nothing(whole: int, parts: int, draw: int) -> None:
    """Parts are never negative and sum to the whole."""
    found = split(whole, parts, draw)
    assert len(found) == parts
    assert sum(found) == whole
    assert min(found) >= 0
