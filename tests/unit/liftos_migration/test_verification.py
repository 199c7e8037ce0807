"""Rows are accounted for, gates decide, and what could not be compared never passes."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_migration.domain.checks import (
    Check,
    CheckKind,
    Gates,
    at_least,
    attribution_check,
    covered_check,
    entity_checks,
    invariant_check,
    search_checks,
    verdict,
)
from liftos_migration.domain.comparing import BucketSum, differing_buckets
from liftos_migration.domain.verification import (
    EntityResult,
    VerificationState,
    added,
    bucket_count_for,
    root,
    subtracted,
    worst,
    worst_first,
)
from liftos_migration.verification_ports import Totals

_COUNTS = st.integers(0, 50)
_WHOLE = EntityResult("public.days", source_count=10, matched_count=10)


_RESULTS = st.builds(
    EntityResult,
    st.just("public.days"),
    matched_count=_COUNTS,
    missing_count=_COUNTS,
    different_count=_COUNTS,
    rejected_count=_COUNTS,
    waived_count=_COUNTS,
    merged_count=_COUNTS,
    extra_count=_COUNTS,
)


@given(_RESULTS)
def test_shares_are_of_the_records_that_should_be_there(result: EntityResult) -> None:
    """Waived and merged rows are in neither share; every row is in exactly one count."""
    rows = result.record_count + result.waived_count + result.merged_count
    assert replace(result, source_count=rows).is_accounted_for
    assert not replace(result, source_count=rows + 1).is_accounted_for
    absent = result.missing_count + result.rejected_count
    assert (result.accuracy == 1) == (absent + result.different_count + result.extra_count == 0)
    assert (result.completeness == 1) == (absent == 0)
    assert replace(result, unverified="its type is not known").accuracy == 0


def test_the_worst_table_counts_and_comes_first() -> None:
    """A large table that is right does not hide a small one that is not."""
    bad = EntityResult("public.b", source_count=2, matched_count=1, missing_count=1)
    assert worst([replace(_WHOLE, source_count=10**6, matched_count=10**6), bad]) == (0.5, 0.5)
    assert worst_first([_WHOLE, bad])[0] is bad
    assert worst([]) == (0.0, 0.0)


_SUMS = st.dictionaries(
    st.integers(0, 7),
    st.builds(BucketSum, st.integers(1, 9), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
)


@given(_SUMS, _SUMS, _SUMS)
def test_sums_of_tables_add_up_in_whatever_order(
    one: dict[int, BucketSum], two: dict[int, BucketSum], three: dict[int, BucketSum]
) -> None:
    """What is added up on one side is what the other side holds together."""
    together = added([one, two, three])
    assert together == added([three, added([two, one])])
    assert differing_buckets(together, added([two, three, one])) == []
    assert root(together) == root(added([three, two, one]))
    assert subtracted(together, [one, three]) == two


def test_buckets_are_few_rows_each_and_not_too_many() -> None:
    """A power of two, from one to what Memory takes."""
    assert [bucket_count_for(n) for n in (0, 1, 16, 33, 1_000, 10**7)] == [1, 1, 1, 2, 64, 65_536]


def test_the_gate_of_accuracy_has_to_be_passed_and_not_only_reached() -> None:
    """Above 99.9 %; where everything is asked for, everything does."""
    just = EntityResult("public.days", source_count=1_000, matched_count=999, different_count=1)
    complete, accurate = entity_checks([just], Gates())
    assert complete.passed
    assert not accurate.passed
    assert accurate.subject == "public.days"
    assert "999 equal" in accurate.detail
    better = replace(just, source_count=10_000, matched_count=9_999)
    assert entity_checks([better], Gates())[1].passed
    assert entity_checks([_WHOLE], Gates(minimum_accuracy=1.0))[1].passed


@pytest.mark.parametrize("measured", [None, math.nan])
def test_what_is_not_known_is_not_reached(measured: float | None) -> None:
    """And the verification is unverified, not failed."""
    check = at_least(CheckKind.SEARCH_RECALL, measured, 0.0)
    assert not check.passed
    assert check.measured is None
    assert verdict([_WHOLE], [check]) is VerificationState.UNVERIFIED


def test_tables_that_were_not_compared_block() -> None:
    """Even where all others are right; a table that is wrong beside them does not hide that."""
    passed = covered_check(CheckKind.QUALITY, 10, 10, noun="entries have a quality score")
    assert verdict([_WHOLE], [passed]) is VerificationState.PASSED
    unknown = replace(_WHOLE, unverified="it has no key")
    assert verdict([_WHOLE, unknown], [passed]) is VerificationState.UNVERIFIED
    assert verdict([], []) is VerificationState.UNVERIFIED
    failed = covered_check(CheckKind.QUALITY, 9, 10, noun="entries have a quality score")
    assert verdict([_WHOLE], [failed]) is VerificationState.FAILED


def test_sums_are_compared_to_the_last_micro() -> None:
    """And the first that differs is told."""
    ours: Totals = {("2026-01-01", "meta"): {"spend_micros": 10**15, "rows": 3}}
    theirs: Totals = {("2026-01-01", "meta"): {"spend_micros": 10**15 + 1, "rows": 3}}
    assert invariant_check("t", ours, ours).passed
    check = invariant_check("t", ours, theirs)
    assert not check.passed
    assert "2026-01-01, meta: spend_micros 1000000000000000 and 1000000000000001" in check.detail
    assert not invariant_check("t", ours, {}).passed
    assert invariant_check("t", {}, {}).passed


def test_success_of_search_needs_enough_queries() -> None:
    """Too few of them say nothing; of few documents every second one has to be asked for."""

    def of(queries: int, documents: int) -> Check:
        return search_checks(
            recall=1.0, success=0.96, queries=queries, documents=documents, gates=Gates()
        )[1]

    assert of(200, 5_000).passed
    assert of(199, 5_000).measured is None
    assert of(26, 51).passed
    assert of(25, 51).measured is None


def test_where_there_is_no_document_none_is_missed() -> None:
    """A module without objects and records can be verified too."""
    checks = search_checks(recall=None, success=None, queries=0, documents=0, gates=Gates())
    assert all(check.passed for check in checks)


@pytest.mark.parametrize(
    ("core", "passed"),
    [
        ({"meta": 100.0, "klaviyo": 0.0}, True),
        ({"meta": 100.09, "klaviyo": 0.0}, True),
        ({"meta": 100.11, "klaviyo": 0.0}, False),
        ({"meta": 100.0, "klaviyo": 1e-12}, True),
        ({"meta": 100.0, "klaviyo": 1.0}, False),
        ({"meta": 100.0}, False),
        ({"meta": 100.0, "klaviyo": 0.0, "tiktok": 0.0}, False),
        ({"meta": math.nan, "klaviyo": 0.0}, False),
    ],
)
def test_attribution_is_compared_by_channel(core: dict[str, float], passed: bool) -> None:
    """One part in a thousand, and no channel too many or too few."""
    check = attribution_check({"meta": 100.0, "klaviyo": 0.0}, core, subject="mix")
    assert check.passed is passed
