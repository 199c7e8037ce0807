"""Names of the module's resources."""

from typing import Final

from liftos_kit.core.names import Pattern

MODEL_NAME: Final = Pattern("orgs/{org}/attributionModels/{attribution_model}")
RESULT_NAME: Final = Pattern("orgs/{org}/attributionResults/{attribution_result}")
EXPERIMENT_NAME: Final = Pattern("orgs/{org}/experiments/{experiment}")
LIFT_NAME: Final = Pattern("orgs/{org}/liftMeasurements/{lift_measurement}")
BUDGET_NAME: Final = Pattern("orgs/{org}/budgetOptimizations/{budget_optimization}")
SYNC_NAME: Final = Pattern("orgs/{org}/platformSyncs/{platform_sync}")
INSIGHT_NAME: Final = Pattern("orgs/{org}/causalInsights/{causal_insight}")
CONFIGURATION_NAME: Final = Pattern("orgs/{org}/causalConfiguration")
