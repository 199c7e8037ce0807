"""What filters may name; words are those of the contract."""

from enum import StrEnum
from typing import Final

from liftos_causal.domain.records import (
    BudgetGoal,
    ExperimentState,
    ExperimentType,
    LiftType,
    ModelState,
    ModelType,
)
from liftos_kit.core.filters import FieldType, FilterField

_TEXT: Final = FilterField(FieldType.TEXT)
_DAY: Final = FilterField(FieldType.DATE)


def _words(kind: type[StrEnum]) -> FilterField:
    return FilterField(FieldType.ENUM, tuple(each.name for each in kind))


PERFORMANCE_FIELDS: Final = {
    "platform": _TEXT,
    "channel": _TEXT,
    "account_id": _TEXT,
    "campaign_id": _TEXT,
}
MODEL_FIELDS: Final = {
    "model_type": _words(ModelType),
    "state": _words(ModelState),
    "display_name": _TEXT,
}
RESULT_FIELDS: Final = {
    "attribution_model": _TEXT,
    "model_type": _words(ModelType),
    "create_time": _DAY,
}
EXPERIMENT_FIELDS: Final = {
    "experiment_type": _words(ExperimentType),
    "state": _words(ExperimentState),
    "display_name": _TEXT,
}
LIFT_FIELDS: Final = {"campaign_id": _TEXT, "lift_type": _words(LiftType), "create_time": _DAY}
BUDGET_FIELDS: Final = {
    "attribution_model": _TEXT,
    "goal": _words(BudgetGoal),
    "create_time": _DAY,
}
