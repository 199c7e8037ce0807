"""Insights from run to run: resolved where they were looked at again, and nowhere else."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pytest

from liftos_memory.domain.calendar import calendar_days
from liftos_memory.domain.detectors.statistics import Floats
from liftos_memory.domain.documents import ObjectKey
from liftos_memory.domain.insight_findings import tell
from liftos_memory.domain.insight_looks import Look, Question, look
from liftos_memory.domain.insight_series import SeriesTable
from liftos_memory.domain.insight_states import is_same, no_longer_found
from liftos_memory.domain.insights import Insight, InsightKind, Subject
from liftos_memory.domain.insights import moves_along as is_of_usual_days

_START = date(2026, 1, 5)
_DAYS = 420
_LAST = _START + timedelta(days=_DAYS - 1)


def table_of(rows: Floats) -> SeriesTable:
    """Return a table of clicks of campaigns."""
    return SeriesTable(
        level="CAMPAIGN",
        start=_START,
        subjects=[
            Subject(ObjectKey("meta", "CAMPAIGN", "act_1", campaign_id=str(number)))
            for number in range(len(rows))
        ],
        columns={"clicks": rows},
        final=np.ones(rows.shape, np.bool_),
        quality=np.ones(rows.shape),
        entries=np.ones(rows.shape, np.int64),
        where=None,
    )


def usual(count: int) -> Floats:
    """Return days of clicks with a season and a scatter of a twentieth."""
    scatter = np.random.default_rng(3).normal(size=(count, _DAYS))
    season = 0.2 * np.sin(2 * np.pi * np.arange(_DAYS) / 7)
    return np.asarray(500 * np.exp(season + 0.05 * scatter))


def eventful() -> Floats:
    """Return a campaign that rises until day 307, and has three times its clicks on day 300."""
    rows = usual(2)
    rows[0] *= 1.02 ** (np.minimum(np.arange(_DAYS), 307) / 7)
    rows[0, 300] *= 3.0
    return rows


def ask(
    first: int,
    last: int,
    kinds: Sequence[InsightKind] = tuple(InsightKind),
    *,
    moves_along: bool = False,
) -> Question:
    """Return a question about days of the table, by number."""
    return Question(
        _START + timedelta(days=first),
        _START + timedelta(days=last),
        kinds,
        _LAST + timedelta(days=1),
        1,
        calendar_days(_START, _LAST),
        moves_along=moves_along,
    )


def run(rows: Floats, question: Question) -> tuple[Sequence[Insight], list[Look]]:
    """Return what is told, and what was looked at."""
    looks = look(table_of(rows), question)
    return tell(looks).insights, looks


def resolved(before: Sequence[Insight], rows: Floats, question: Question) -> set[str]:
    """Return what another run resolves."""
    found, looks = run(rows, question)
    return set(no_longer_found(before, found, looks, [question], subjects=None))


@pytest.mark.parametrize(
    "question",
    [ask(329, 419), ask(329, 419, moves_along=True), ask(126, 419), ask(224, 300), ask(0, 60)],
)
def test_other_days_resolve_nothing(question: Question) -> None:
    """Later, more, fewer or earlier ones: what was found in some days stays found in them."""
    found, _ = run(eventful(), ask(217, 307))
    assert {it.kind for it in found} == set(InsightKind)
    assert resolved(found, eventful(), question) == set()


def test_what_is_restated_is_resolved() -> None:
    """Where the run looks at the same days."""
    question = ask(217, 307)
    found, _ = run(eventful(), question)
    assert resolved(found, usual(2), question) == {it.insight_id for it in found}


def test_a_wider_run_resolves_a_day_that_was_restated() -> None:
    """As it judges that day as well; it says nothing of trends of fewer weeks."""
    found, _ = run(eventful(), ask(217, 307))
    gone = resolved(found, usual(2), ask(126, 419))
    assert gone == {it.insight_id for it in found if it.kind is InsightKind.ANOMALY}


def test_what_a_wide_run_cannot_tell_holds() -> None:
    """Many series ask for smaller p-values; what was as unlikely as it is now is no less true."""
    rows = usual(200)
    rows[0, 300] *= 1.35
    kinds = [InsightKind.ANOMALY]
    found, _ = run(rows[:1], ask(280, 307, kinds))
    (point,) = found
    wide = ask(126, 419, kinds)
    told, _ = run(rows, wide)
    assert point.insight_id not in {it.insight_id for it in told}
    assert resolved(found, rows, wide) == set()
    assert resolved(found, usual(200), wide) == {point.insight_id}


def test_trends_of_other_weeks_are_other_insights() -> None:
    """Those of the usual days stay one while these move along."""
    kinds = [InsightKind.TREND]
    ids = []
    for question in (
        ask(217, 307, kinds),
        ask(126, 307, kinds),
        ask(210, 300, kinds, moves_along=True),
        ask(217, 307, kinds, moves_along=True),
    ):
        (trend,) = run(eventful(), question)[0]
        assert is_of_usual_days(trend) is question.moves_along
        ids.append(trend.insight_id)
    assert len(set(ids[:3])) == 3
    assert ids[2] == ids[3]


def test_a_trend_is_the_same_only_over_its_weeks() -> None:
    """Whatever its id says."""
    kinds = [InsightKind.TREND]
    (trend,), (usual_one,), (longer,) = (
        run(eventful(), question)[0]
        for question in (
            ask(217, 307, kinds),
            ask(217, 307, kinds, moves_along=True),
            ask(126, 307, kinds),
        )
    )
    assert is_same(trend, usual_one)
    assert not is_same(trend, longer)
