"""Words of the contract and of the module, both ways."""

from typing import Final

from liftos.causal.v1 import causal_pb2 as pb
from liftos_causal.domain.effects import Method
from liftos_causal.domain.records import (
    BudgetGoal,
    ExperimentState,
    ExperimentType,
    LiftType,
    ModelState,
    ModelType,
    SyncState,
    SyncType,
)
from liftos_causal.domain.validation import ValidationMethod

MODEL_TYPES: Final = {
    pb.ATTRIBUTION_MODEL_TYPE_MARKETING_MIX: ModelType.MARKETING_MIX,
    pb.ATTRIBUTION_MODEL_TYPE_BAYESIAN_STRUCTURAL: ModelType.BAYESIAN_STRUCTURAL,
    pb.ATTRIBUTION_MODEL_TYPE_DIFFERENCE_IN_DIFFERENCES: ModelType.DIFFERENCE_IN_DIFFERENCES,
    pb.ATTRIBUTION_MODEL_TYPE_INSTRUMENTAL_VARIABLES: ModelType.INSTRUMENTAL_VARIABLES,
    pb.ATTRIBUTION_MODEL_TYPE_RANDOMIZED_CONTROLLED_TRIAL: ModelType.RANDOMIZED_CONTROLLED_TRIAL,
}
VALIDATION_METHODS: Final = {
    pb.VALIDATION_METHOD_HOLDOUT: ValidationMethod.HOLDOUT,
    pb.VALIDATION_METHOD_CROSS_VALIDATION: ValidationMethod.CROSS_VALIDATION,
    pb.VALIDATION_METHOD_BOOTSTRAP: ValidationMethod.BOOTSTRAP,
}
MODEL_STATES: Final = {
    pb.MODEL_STATE_TRAINING: ModelState.TRAINING,
    pb.MODEL_STATE_READY: ModelState.READY,
    pb.MODEL_STATE_FAILED: ModelState.FAILED,
    pb.MODEL_STATE_RETIRED: ModelState.RETIRED,
}
EXPERIMENT_TYPES: Final = {
    pb.EXPERIMENT_TYPE_AB_TEST: ExperimentType.AB_TEST,
    pb.EXPERIMENT_TYPE_HOLDOUT: ExperimentType.HOLDOUT,
    pb.EXPERIMENT_TYPE_GEO: ExperimentType.GEO,
    pb.EXPERIMENT_TYPE_SWITCHBACK: ExperimentType.SWITCHBACK,
    pb.EXPERIMENT_TYPE_SYNTHETIC_CONTROL: ExperimentType.SYNTHETIC_CONTROL,
}
EXPERIMENT_STATES: Final = {
    pb.EXPERIMENT_STATE_PLANNED: ExperimentState.PLANNED,
    pb.EXPERIMENT_STATE_RUNNING: ExperimentState.RUNNING,
    pb.EXPERIMENT_STATE_ANALYZED: ExperimentState.ANALYZED,
    pb.EXPERIMENT_STATE_INCONCLUSIVE: ExperimentState.INCONCLUSIVE,
}
METHODS: Final = {
    pb.CAUSAL_METHOD_DIFFERENCE_IN_DIFFERENCES: Method.DIFFERENCE_IN_DIFFERENCES,
    pb.CAUSAL_METHOD_SYNTHETIC_CONTROL: Method.SYNTHETIC_CONTROL,
    pb.CAUSAL_METHOD_RANDOMIZED_EXPERIMENT: Method.RANDOMIZED_EXPERIMENT,
    pb.CAUSAL_METHOD_REGRESSION_DISCONTINUITY: Method.REGRESSION_DISCONTINUITY,
    pb.CAUSAL_METHOD_MATCHING: Method.MATCHING,
}
LIFT_TYPES: Final = {
    pb.LIFT_TYPE_INCREMENTAL: LiftType.INCREMENTAL,
    pb.LIFT_TYPE_CONVERSION: LiftType.CONVERSION,
}
BUDGET_GOALS: Final = {
    pb.BUDGET_GOAL_ROI: BudgetGoal.ROI,
    pb.BUDGET_GOAL_REVENUE: BudgetGoal.REVENUE,
    pb.BUDGET_GOAL_CONVERSIONS: BudgetGoal.CONVERSIONS,
}
SYNC_TYPES: Final = {
    pb.SYNC_TYPE_INCREMENTAL: SyncType.INCREMENTAL,
    pb.SYNC_TYPE_FULL: SyncType.FULL,
}
SYNC_STATES: Final = {
    pb.SYNC_STATE_RUNNING: SyncState.RUNNING,
    pb.SYNC_STATE_SUCCEEDED: SyncState.SUCCEEDED,
    pb.SYNC_STATE_PARTIALLY_SUCCEEDED: SyncState.PARTIALLY_SUCCEEDED,
    pb.SYNC_STATE_FAILED: SyncState.FAILED,
}

MODEL_TYPE_NUMBERS: Final = {word: number for number, word in MODEL_TYPES.items()}
VALIDATION_METHOD_NUMBERS: Final = {word: number for number, word in VALIDATION_METHODS.items()}
MODEL_STATE_NUMBERS: Final = {word: number for number, word in MODEL_STATES.items()}
EXPERIMENT_TYPE_NUMBERS: Final = {word: number for number, word in EXPERIMENT_TYPES.items()}
EXPERIMENT_STATE_NUMBERS: Final = {word: number for number, word in EXPERIMENT_STATES.items()}
METHOD_NUMBERS: Final = {word: number for number, word in METHODS.items()}
LIFT_TYPE_NUMBERS: Final = {word: number for number, word in LIFT_TYPES.items()}
BUDGET_GOAL_NUMBERS: Final = {word: number for number, word in BUDGET_GOALS.items()}
SYNC_TYPE_NUMBERS: Final = {word: number for number, word in SYNC_TYPES.items()}
SYNC_STATE_NUMBERS: Final = {word: number for number, word in SYNC_STATES.items()}
