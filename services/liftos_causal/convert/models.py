"""Models and attributions as messages."""

from liftos.causal.v1 import causal_pb2 as pb
from liftos_causal.convert.selections import (
    interval,
    micros,
    parameters_message,
    range_message,
    selection_message,
)
from liftos_causal.convert.words import (
    MODEL_STATE_NUMBERS,
    MODEL_TYPE_NUMBERS,
    VALIDATION_METHOD_NUMBERS,
)
from liftos_causal.domain.names import MODEL_NAME, RESULT_NAME
from liftos_causal.domain.records import (
    AttributedChannel,
    AttributionResult,
    ChannelReturn,
    Model,
    Recommendation,
)
from liftos_causal.domain.validation import Performance
from liftos_kit.structs import timestamp


def model_message(org: str, model: Model, *, with_curves: bool = True) -> pb.AttributionModel:
    """Return the message of a model."""
    fit = model.fit
    return pb.AttributionModel(
        name=MODEL_NAME.format(org=org, attribution_model=model.id),
        display_name=model.spec.display_name,
        model_type=MODEL_TYPE_NUMBERS[model.spec.model_type],
        validation_method=VALIDATION_METHOD_NUMBERS[model.spec.validation_method],
        parameters=parameters_message(model.spec.parameters),
        training_data=selection_message(model.spec.selection),
        state=MODEL_STATE_NUMBERS[model.state],
        state_reason=model.state_reason,
        performance=None if fit is None else performance_message(fit.performance),
        curves=[_curve(each) for each in fit.returns] if fit is not None and with_curves else [],
        training_data_sha256="" if fit is None else fit.training_data_sha256,
        write_token="" if fit is None else fit.write_token,
        version=model.version,
        create_time=timestamp(model.create_time),
        update_time=timestamp(model.update_time),
        etag=str(model.version),
    )


def _curve(each: ChannelReturn) -> pb.ChannelCurve:
    return pb.ChannelCurve(
        channel=each.curve.channel,
        adstock_decay=each.curve.decay,
        half_saturation=each.curve.half_saturation,
        coefficient=each.curve.coefficient,
        return_on_spend=interval(each.return_on_spend),
    )


def performance_message(performance: Performance | None) -> pb.ModelPerformance | None:
    """Return the message of how well a model predicts; None where it predicts no days."""
    if performance is None:
        return None
    return pb.ModelPerformance(
        r_squared=performance.r_squared,
        mean_absolute_percentage_error=performance.mape,
        root_mean_square_error=performance.rmse,
        day_count=performance.day_count,
    )


def result_message(org: str, result: AttributionResult) -> pb.AttributionResult:
    """Return the message of an attribution."""
    return pb.AttributionResult(
        name=RESULT_NAME.format(org=org, attribution_result=result.id) if result.id else "",
        attribution_model=MODEL_NAME.format(org=org, attribution_model=result.model)
        if result.model
        else "",
        model_type=MODEL_TYPE_NUMBERS[result.model_type],
        attribution_window_days=result.window_days,
        date_range=range_message(result.selection.days),
        currency_code=result.selection.currency_code,
        channels=[_channel(each) for each in result.channels],
        unattributed_share=result.unattributed_share,
        conversions_attributed=sum(each.conversions for each in result.channels),
        performance=performance_message(result.performance),
        recommendations=[recommendation_message(each) for each in result.recommendations],
        quality_score=result.quality_score,
        create_time=timestamp(result.create_time),
        caveats=result.caveats,
    )


def _channel(each: AttributedChannel) -> pb.ChannelAttribution:
    return pb.ChannelAttribution(
        channel=each.channel,
        share=interval(each.share),
        conversions=each.conversions,
        revenue_micros=micros(each.revenue),
        spend_micros=micros(each.spend),
        roas=each.roas,
    )


def recommendation_message(each: Recommendation) -> pb.Recommendation:
    """Return the message of a recommendation."""
    return pb.Recommendation(
        code=each.code,
        channel=each.channel,
        text=each.text,
        expected_change=each.expected_change,
        confidence=each.confidence,
    )
