"""The quality of many entries: recomputed from their issues, levels included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_memory.domain.level_reconciliation import LEVEL_PAIRS, level_issues, pairs_of
from liftos_memory.domain.quality import ISSUE_KINDS, encode_issues, issue, quality_of
from liftos_memory.domain.quality_summary import ScoredEntries, summarise

_CODES = sorted(set(ISSUE_KINDS) - {"LEVEL_MISMATCH"})
_TEXTS = st.lists(st.sampled_from(_CODES), unique=True, max_size=5).map(
    lambda codes: encode_issues(issue(code, "clicks") for code in codes) or ""
)
_GROUPS = st.lists(
    st.builds(
        ScoredEntries,
        _TEXTS,
        st.sampled_from(["", "clicks", "clicks,spend_micros", "clicks,clicks"]),
        st.integers(1, 50),
    ),
    max_size=8,
)


def test_a_mismatch_takes_its_cost_off_the_day() -> None:
    """0.40 of consistency, which is 0.20 of the score: 0.08 less than the entries themselves."""
    summary = summarise(
        [ScoredEntries("", "", 3), ScoredEntries("NOT_FINAL:final:100", "spend_micros", 1)]
    )
    assert summary is not None
    assert summary.minimum_score == pytest.approx(1 - 0.015 - 0.08)
    assert summary.mean_score == pytest.approx((3 + 0.905) / 4)
    assert [
        (it.issue.code, it.issue.field, it.issue.cost, it.entry_count) for it in summary.issues
    ] == [
        ("LEVEL_MISMATCH", "spend_micros", 0.4, 1),
        ("NOT_FINAL", "final", 0.1, 1),
    ]


def test_nothing_has_no_quality() -> None:
    """No entries are neither good nor bad."""
    assert summarise([]) is None


@given(_GROUPS)
def test_scores_follow_from_issues_and_levels(groups: list[ScoredEntries]) -> None:
    """Each entry counts once; a mismatch never raises a score; the lowest bounds the mean."""
    summary = summarise(groups)
    plain = summarise([ScoredEntries(it.issues, "", it.entry_count) for it in groups])
    if summary is None or plain is None:
        assert not groups
        return
    assert summary.entry_count == sum(it.entry_count for it in groups)
    assert 0.0 <= summary.minimum_score <= summary.mean_score + 1e-12 <= 1.0 + 1e-12
    assert summary.mean_score <= plain.mean_score + 1e-12
    assert summary.minimum_score <= plain.minimum_score
    for it in summary.issues:
        assert it.entry_count <= summary.entry_count
        assert it.entry_count == sum(
            group.entry_count
            for group in groups
            if f";{it.issue.code}:{it.issue.field}:" in f";{group.issues}"
            or (it.issue.code == "LEVEL_MISMATCH" and it.issue.field in group.mismatched.split(","))
        )


def test_pairs_are_those_of_the_levels_that_are_read() -> None:
    """Either side of a pair makes it one to compare; outcomes have none."""
    assert pairs_of({"CAMPAIGN"}) == LEVEL_PAIRS[:2]
    assert pairs_of({"AD", "MESSAGE"}) == LEVEL_PAIRS[2:]
    assert pairs_of({"OUTCOME", "CONTROL"}) == ()
    assert quality_of(level_issues("sent,clicks,sent")).consistency == pytest.approx(0.2)
