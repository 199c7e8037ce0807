"""Comparisons on the wire."""

import math
from collections.abc import Mapping

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_mapping.entry_fields import LEVELS
from liftos_memory.convert.slices import date_range, days_of
from liftos_memory.domain.comparison_caveats import Caveat, CaveatKind, Efficiency
from liftos_memory.domain.comparison_findings import (
    Correlation,
    DayEffect,
    DayKind,
    MetricFindings,
)
from liftos_memory.domain.comparison_sums import MemberFacts
from liftos_memory.domain.comparisons import (
    MAXIMUM_PERIOD_DAYS,
    ComparisonQuestion,
    comparison_question,
)
from liftos_memory.usecases.comparisons import ComparisonAnswer

_KINDS = {kind: number for number, kind in enumerate(DayKind, 1)}
_CAVEATS = {kind: number for number, kind in enumerate(CaveatKind, 1)}


def question_of(request: pb.CompareMetricsRequest) -> ComparisonQuestion:
    """Return the question of a request.

    Raises:
        InvalidFieldsError: Fields break rules.
        FilterError: The filter cannot be read.
    """
    baseline = None
    if request.HasField("baseline_date_range"):
        baseline = days_of(
            request.baseline_date_range,
            field="baseline_date_range",
            maximum_days=MAXIMUM_PERIOD_DAYS,
        )
    return comparison_question(
        asked=days_of(request.date_range, field="date_range", maximum_days=MAXIMUM_PERIOD_DAYS),
        baseline=baseline,
        level=LEVELS[request.level - 1],
        metrics=request.metrics,
        dimension=request.dimension,
        filter_text=request.filter,
        minimum_quality_score=request.minimum_quality_score
        if request.HasField("minimum_quality_score")
        else None,
        currency_code=request.currency_code,
        maximum_lag_days=request.maximum_lag_days if request.HasField("maximum_lag_days") else None,
    )


def comparison_response(
    question: ComparisonQuestion, answer: ComparisonAnswer
) -> pb.CompareMetricsResponse:
    """Return the message of an answer."""
    response = pb.CompareMetricsResponse(
        marketing_efficiency=[_efficiency(one) for one in answer.efficiencies],
        caveats=[_caveat(one) for one in answer.caveats],
        baseline_date_range=date_range(question.baseline.start, question.baseline.end),
    )
    for found in answer.findings:
        _add_comparisons(response, found, answer.facts)
        response.correlations.extend(_correlation(found, pair) for pair in found.correlations)
        response.calendar_effects.extend(_effect(found, effect) for effect in found.day_effects)
    return response


def _add_comparisons(
    response: pb.CompareMetricsResponse, found: MetricFindings, facts: Mapping[str, MemberFacts]
) -> None:
    numbers = {
        "value": found.value,
        "baseline_value": found.baseline,
        "change": found.change,
        "change_ratio": found.change_ratio,
        "percentile": found.percentile,
        "mix_effect": found.mix_effect,
        "rate_effect": found.rate_effect,
        "interval_low": found.interval.low,
        "interval_high": found.interval.high,
        "change_interval_low": found.change_interval.low,
        "change_interval_high": found.change_interval.high,
    }
    columns = [(name, values.tolist()) for name, values in numbers.items()]
    wilson = found.is_wilson.tolist()
    days, days_before = found.day_count.tolist(), found.baseline_day_count.tolist()
    last = len(found.members) - 1
    for place, member in enumerate(found.members):
        message = response.totals.add() if place == last else response.comparisons.add()
        message.member = member
        message.total = place == last
        message.metric = found.metric
        message.currency_code = found.currency_code
        message.day_count = days[place]
        message.baseline_day_count = days_before[place]
        for name, values in columns:
            if not math.isnan(values[place]):
                setattr(message, name, values[place])
        if message.HasField("interval_low"):
            message.interval_method = (
                pb.INTERVAL_METHOD_WILSON if wilson[place] else pb.INTERVAL_METHOD_DELTA
            )
        if place < last:
            _fill_facts(message, facts[member])
        elif facts:
            message.quality_score = min(fact.quality_score for fact in facts.values())
            message.final = all(fact.final for fact in facts.values())


def _fill_facts(message: pb.MetricComparison, facts: MemberFacts) -> None:
    message.quality_score = facts.quality_score
    message.final = facts.final
    message.attribution_settings.extend(facts.attribution_settings)


def _correlation(found: MetricFindings, pair: Correlation) -> pb.MetricCorrelation:
    return pb.MetricCorrelation(
        metric=found.metric,
        first_member=pair.first_member,
        second_member=pair.second_member,
        coefficient=pair.coefficient,
        lag_days=pair.lag_days,
        day_count=pair.day_count,
        p_value=pair.p_value,
        currency_code=found.currency_code,
    )


def _effect(found: MetricFindings, effect: DayEffect) -> pb.CalendarEffect:
    message = pb.CalendarEffect(
        member=effect.member or "",
        total=effect.member is None,
        metric=found.metric,
        kind=pb.CalendarEffectKind.ValueType(_KINDS[effect.kind]),
        day_name=effect.day_name,
        ratio=effect.ratio,
        day_count=effect.day_count,
        currency_code=found.currency_code,
    )
    if not math.isnan(effect.low):
        message.interval_low = effect.low
        message.interval_high = effect.high
    return message


def _efficiency(one: Efficiency) -> pb.MarketingEfficiency:
    message = pb.MarketingEfficiency(
        currency_code=one.currency_code,
        outcome_revenue_micros=one.revenue_micros,
        spend_micros=one.spend_micros,
    )
    if not math.isnan(one.value):
        message.value = one.value
    if not math.isnan(one.baseline):
        message.baseline_value = one.baseline
    if not math.isnan(one.value - one.baseline):
        message.change = one.value - one.baseline
    return message


def _caveat(caveat: Caveat) -> pb.ComparisonCaveat:
    return pb.ComparisonCaveat(
        kind=pb.ComparisonCaveatKind.ValueType(_CAVEATS[caveat.kind]),
        message=caveat.message,
        metrics=caveat.metrics,
        members=caveat.members,
    )
