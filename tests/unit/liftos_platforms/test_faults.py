"""Faults as data, and the journal of calls."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_platforms.faults import (
    SCOPES,
    Call,
    Fault,
    FaultKind,
    FaultPlan,
    random_plan,
)
from liftos_platforms.journal import Journal
from liftos_platforms.truth import Platform

NOW = datetime(2026, 11, 15, tzinfo=UTC)


def call(endpoint: str = "insights_submit", **more: Any) -> Call:
    """A call of Meta's face."""
    return Call(Platform.META, endpoint, **more)


def test_every_kind_has_a_scope() -> None:
    """A kind without a scope could never strike."""
    assert set(SCOPES) == set(FaultKind)


@given(st.integers(0, 5), st.integers(1, 5))
def test_a_fault_strikes_so_often_after_so_many(skip: int, times: int) -> None:
    """The first calls go well, the next fail, and all later ones go well again."""
    plan = FaultPlan([Fault(FaultKind.RUN_SKIPPED, Platform.META, skip=skip, times=times)])
    struck = [plan.take(call()) is not None for _ in range(skip + times + 3)]
    assert struck == [False] * skip + [True] * times + [False] * 3
    assert plan.unstruck() == ()


def test_a_fault_for_good_never_ends() -> None:
    """Without a number of times it strikes every call."""
    plan = FaultPlan([Fault(FaultKind.ACCOUNT_LIMITED, Platform.META, times=None)])
    assert all(plan.take(call()) for _ in range(50))


def test_two_faults_on_one_call_strike_one_after_the_other() -> None:
    """A fault that waits behind another strikes the next call, and is not lost."""
    first = Fault(FaultKind.RUN_SKIPPED, Platform.META)
    second = Fault(FaultKind.RUN_TIMED_OUT, Platform.META)
    plan = FaultPlan([first, second])
    assert [plan.take(call()) for _ in range(3)] == [first, second, None]


def test_a_kind_strikes_only_where_it_can() -> None:
    """A fault of report runs passes every other call by."""
    plan = FaultPlan([Fault(FaultKind.RUN_SKIPPED, Platform.META)])
    assert plan.take(call("account")) is None
    assert plan.take(Call(Platform.KLAVIYO, "insights_submit")) is None
    assert plan.unstruck()
    assert plan.take(call()) is not None


def test_a_fault_chooses_account_day_and_parameters() -> None:
    """All that a fault names must fit."""
    fault = Fault(
        FaultKind.RUN_SKIPPED,
        Platform.META,
        account_id="1001",
        day=date(2026, 11, 2),
        where={"level": "ad", "fields": "*actions*"},
    )
    days: dict[str, Any] = {"first_day": date(2026, 11, 1), "last_day": date(2026, 11, 3)}
    parameters = {"level": "ad", "fields": "spend,actions,reach"}
    assert fault.matches(call(account_id="1001", parameters=parameters, **days))
    assert not fault.matches(call(account_id="1002", parameters=parameters, **days))
    assert not fault.matches(call(account_id="1001", parameters={"level": "ad"}, **days))
    assert not fault.matches(call(account_id="1001", parameters=parameters))


def test_a_fault_that_its_platform_cannot_have_is_refused() -> None:
    """A plan with a slip in it fails at once."""
    with pytest.raises(ValueError, match="klaviyo has no fault run_skipped"):
        Fault(FaultKind.RUN_SKIPPED, Platform.KLAVIYO)


@given(st.integers(0, 2**32), st.sampled_from(Platform))
def test_random_plans_repeat(seed: int, platform: Platform) -> None:
    """A seed always makes the same plan, of faults that a patient reader gets over."""
    plan = random_plan(seed, platform, count=5)
    assert plan == random_plan(seed, platform, count=5)
    assert all(SCOPES[fault.kind].is_passing for fault in plan)


def test_the_journal_counts_what_runs_at_once() -> None:
    """Concurrency is known for a platform and for each account."""
    journal = Journal()
    with (
        journal.record(call(account_id="1"), at=NOW, method="POST"),
        journal.record(call(account_id="2"), at=NOW, method="POST"),
        journal.record(call("report_run", account_id="2"), at=NOW, method="GET") as outcome,
    ):
        outcome.is_poll = True
        outcome.status = "200"
    assert journal.maximum_concurrency(Platform.META) == 3
    assert journal.maximum_concurrency(Platform.META, "1") == 1
    assert journal.maximum_concurrency(Platform.META, "2") == 2
    assert len(journal.calls()) == 2
    assert [entry.status for entry in journal.polls()] == ["200"]


def test_the_journal_keeps_no_credential() -> None:
    """Two tokens can be told apart, and neither can be read."""
    journal = Journal()
    for token in ("EAABsecret", "EAABother"):
        with journal.record(
            call(), at=NOW, method="GET", credential=token, headers={"Authorization": token}
        ):
            pass
    marks = {entry.credential for entry in journal.calls()}
    assert len(marks) == 2
    assert "EAAB" not in repr(journal)
    assert journal.calls()[0].header_names == ("authorization",)
