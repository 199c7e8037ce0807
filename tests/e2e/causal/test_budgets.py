"""Budgets on the curves of a kept model."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import grpc
import pytest
from tests.e2e.causal.asking import PARENT, code_and_text, model

from liftos.causal.v1 import causal_pb2, causal_service_pb2

TOTAL = 300_000 * 1_000_000


@pytest.fixture(scope="module")
async def fitted(causal: Callable[..., Any]) -> str:
    """A model of revenue."""
    created = await causal("writer").CreateModel(model("budgets"))
    return str(created.attribution_model.name)


def _request(fitted: str, **changes: Any) -> causal_service_pb2.OptimizeBudgetRequest:
    return causal_service_pb2.OptimizeBudgetRequest(
        **{"parent": PARENT, "attribution_model": fitted, "total_micros": TOTAL, **changes}
    )


async def test_the_best_allocation_is_at_least_as_good_as_the_present(
    causal: Callable[..., Any], fitted: str
) -> None:
    """It spends all that is asked to be spent, and channels at no bound return alike."""
    answer = await causal("reader").OptimizeBudget(
        _request(fitted, goal=causal_pb2.BUDGET_GOAL_REVENUE)
    )
    best = answer.budget_optimization
    spent = sum(line.recommended_micros for line in best.lines)
    assert spent == pytest.approx(TOTAL, rel=1e-6)
    now = sum(line.current_micros for line in best.lines)
    scaled = best.current_outcome.value * min(1.0, TOTAL / now)
    assert best.optimal_outcome.value >= scaled
    inside = [line for line in best.lines if 0 < line.recommended_micros < TOTAL]
    returns = [line.marginal_return.value for line in inside]
    assert max(returns) == pytest.approx(min(returns), rel=1e-4)
    assert (best.horizon_days, best.currency_code) == (30, "USD")


async def test_roi_leaves_what_does_not_pay(causal: Callable[..., Any], fitted: str) -> None:
    """Of far more than pays, so much is spent that one more unit gives itself back."""
    answer = await causal("reader").OptimizeBudget(_request(fitted, total_micros=TOTAL * 1_000))
    lines = answer.budget_optimization.lines
    assert sum(line.recommended_micros for line in lines) < TOTAL * 1_000
    spending = [line for line in lines if line.recommended_micros > 0]
    assert all(line.marginal_return.value == pytest.approx(1.0, rel=1e-4) for line in spending)


async def test_constraints_hold(causal: Callable[..., Any], fitted: str) -> None:
    """Least, most and largest change, and the ones that bind are named."""
    answer = await causal("reader").OptimizeBudget(
        _request(
            fitted,
            goal=causal_pb2.BUDGET_GOAL_REVENUE,
            current_allocation=[
                causal_pb2.ChannelBudget(channel="google_ads", amount_micros=TOTAL // 10)
            ],
            constraints=[
                causal_pb2.BudgetConstraint(channel="tiktok", minimum_micros=TOTAL // 4),
                causal_pb2.BudgetConstraint(channel="meta", maximum_micros=TOTAL // 100),
                causal_pb2.BudgetConstraint(channel="google_ads", maximum_change=0.5),
            ],
        )
    )
    best = answer.budget_optimization
    given = {line.channel: line.recommended_micros for line in best.lines}
    assert given["tiktok"] >= TOTAL // 4 - 1
    assert given["meta"] <= TOTAL // 100 + 1
    assert TOTAL // 20 - 1 <= given["google_ads"] <= TOTAL * 3 // 20 + 1
    assert {"meta", "google_ads"} <= set(best.binding_constraints)


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        (
            {
                "constraints": [
                    causal_pb2.BudgetConstraint(channel="meta", minimum_micros=TOTAL * 2)
                ]
            },
            grpc.StatusCode.FAILED_PRECONDITION,
            "the minimums add up to",
        ),
        (
            {"constraints": [causal_pb2.BudgetConstraint(channel="radio", minimum_micros=1)]},
            grpc.StatusCode.INVALID_ARGUMENT,
            "the model knows no channel radio",
        ),
        (
            {"goal": causal_pb2.BUDGET_GOAL_CONVERSIONS},
            grpc.StatusCode.INVALID_ARGUMENT,
            "explains revenue and the goal needs conversions",
        ),
        ({"currency_code": "EUR"}, grpc.StatusCode.INVALID_ARGUMENT, "is not that of the model"),
        (
            {"attribution_model": "", "goal": causal_pb2.BUDGET_GOAL_CONVERSIONS},
            grpc.StatusCode.NOT_FOUND,
            "explains conversions",
        ),
    ],
)
async def test_what_cannot_be_allocated_says_why(
    causal: Callable[..., Any],
    fitted: str,
    changes: dict[str, Any],
    code: grpc.StatusCode,
    reason: str,
) -> None:
    """Each refusal names what is wrong."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await causal("reader").OptimizeBudget(_request(fitted, **changes))
    found, text = code_and_text(refused.value)
    assert (found, reason in text) == (code, True), text


async def test_an_allocation_is_kept_and_listed(causal: Callable[..., Any], fitted: str) -> None:
    """Once, however often it is asked for."""
    request = _request(fitted, store=True, request_id=str(uuid4()))
    kept = (await causal("writer").OptimizeBudget(request)).budget_optimization
    assert (await causal("writer").OptimizeBudget(request)).budget_optimization == kept
    listed = await causal("reader").ListBudgetOptimizations(
        causal_service_pb2.ListBudgetOptimizationsRequest(
            parent=PARENT, filter=f'goal = ROI AND attribution_model = "{fitted}"'
        )
    )
    assert list(listed.budget_optimizations) == [kept]
