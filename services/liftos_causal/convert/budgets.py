"""Budgets as messages."""

from liftos.causal.v1 import causal_pb2 as pb
from liftos.causal.v1 import causal_service_pb2
from liftos_causal.convert.selections import MICROS, interval, micros
from liftos_causal.convert.words import BUDGET_GOAL_NUMBERS, BUDGET_GOALS
from liftos_causal.domain.names import BUDGET_NAME, MODEL_NAME
from liftos_causal.domain.records import BudgetGoal, BudgetOptimization
from liftos_causal.usecases.budgets import BudgetQuestion, Constraint
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.structs import timestamp


def budget_question(request: causal_service_pb2.OptimizeBudgetRequest) -> BudgetQuestion:
    """Return what there is to allocate.

    Raises:
        InvalidFieldsError: A channel's present allocation is given twice.
    """
    channels = [each.channel for each in request.current_allocation]
    if len(set(channels)) < len(channels):
        raise InvalidFieldsError.of("current_allocation", "names a channel twice", rule="unique")
    return BudgetQuestion(
        model=MODEL_NAME.parse(request.attribution_model, field="attribution_model")[
            "attribution_model"
        ]
        if request.attribution_model
        else "",
        current={each.channel: each.amount_micros / MICROS for each in request.current_allocation},
        total=request.total_micros / MICROS,
        currency_code=request.currency_code,
        constraints=[_constraint(each) for each in request.constraints],
        goal=BUDGET_GOALS.get(request.goal, BudgetGoal.ROI),
        horizon_days=request.horizon_days,
    )


def _constraint(message: pb.BudgetConstraint) -> Constraint:
    return Constraint(
        channel=message.channel,
        minimum=message.minimum_micros / MICROS if message.HasField("minimum_micros") else None,
        maximum=message.maximum_micros / MICROS if message.HasField("maximum_micros") else None,
        maximum_change=message.maximum_change if message.HasField("maximum_change") else None,
    )


def budget_message(org: str, budget: BudgetOptimization) -> pb.BudgetOptimization:
    """Return the message of an allocation."""
    return pb.BudgetOptimization(
        name=BUDGET_NAME.format(org=org, budget_optimization=budget.id) if budget.id else "",
        attribution_model=MODEL_NAME.format(org=org, attribution_model=budget.model),
        goal=BUDGET_GOAL_NUMBERS[budget.goal],
        horizon_days=budget.horizon_days,
        currency_code=budget.currency_code,
        lines=[
            pb.BudgetLine(
                channel=line.channel,
                current_micros=micros(line.current),
                recommended_micros=micros(line.recommended),
                marginal_return=interval(line.marginal_return),
                extrapolated=line.extrapolated,
            )
            for line in budget.lines
        ],
        current_outcome=interval(budget.current_outcome),
        optimal_outcome=interval(budget.optimal_outcome),
        binding_constraints=budget.binding_constraints,
        create_time=timestamp(budget.create_time),
    )
