"""What the module keeps: models, results, experiments, measurements, budgets, syncs, defaults."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TypeAlias

from liftos_causal.domain.curves import Curve, Estimate
from liftos_causal.domain.effects import Effect, Method
from liftos_causal.domain.mix_model import Draws, Parameters
from liftos_causal.domain.validation import Performance, ValidationMethod


class ModelType(StrEnum):
    """How credit is given; the words are those of the module's database."""

    MARKETING_MIX = "marketing_mix_model"
    BAYESIAN_STRUCTURAL = "bayesian_structural"
    DIFFERENCE_IN_DIFFERENCES = "difference_in_differences"
    INSTRUMENTAL_VARIABLES = "instrumental_variables"
    RANDOMIZED_CONTROLLED_TRIAL = "randomized_controlled_trial"


class ModelState(StrEnum):
    """Where a model is."""

    TRAINING = "training"
    READY = "ready"
    FAILED = "failed"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class DayRange:
    """Consecutive days, both ends included."""

    start: date
    end: date

    @property
    def day_count(self) -> int:
        """How many."""
        return (self.end - self.start).days + 1


@dataclass(frozen=True, slots=True)
class Selection:
    """Which days and channels a question is about.

    Attributes:
        days: The days.
        platforms: Only these; none means all that have data.
        filter: AIP-160 over platform, channel, account_id and campaign_id.
        currency_code: Of all money; empty is the org's base currency.
    """

    days: DayRange
    platforms: tuple[str, ...] = ()
    filter: str = ""
    currency_code: str = ""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a person decides about a model."""

    display_name: str
    model_type: ModelType
    validation_method: ValidationMethod
    parameters: Parameters
    selection: Selection


@dataclass(frozen=True, slots=True)
class ChannelReturn:
    """A fitted curve, and what is known of it where it was fitted.

    Attributes:
        curve: The curve.
        return_on_spend: What one more unit of spend gives at the present level.
        largest_daily_spend: Beyond it the curve is a guess.
    """

    curve: Curve
    return_on_spend: Estimate
    largest_daily_spend: float


@dataclass(frozen=True, slots=True)
class Fit:
    """What fitting came to.

    Attributes:
        returns: One for each channel that spent.
        performance: On days that were kept back; none for models that predict no days.
        training_data_sha256: Of the numbers that it was fitted on, in hex.
        write_token: State of the store that it was fitted on; empty on the module's own.
    """

    returns: tuple[ChannelReturn, ...]
    performance: Performance | None
    training_data_sha256: str
    write_token: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The request that made a record, so that the same request is answered alike.

    Attributes:
        request_id: 32 hex digits; empty where none was given.
        payload_sha256: Of everything else in it, in hex.
    """

    request_id: str = ""
    payload_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A model, by its id within the org.

    `draws` is what else the days allow, in order of the fit's returns.
    """

    id: str
    spec: ModelSpec
    state: ModelState
    state_reason: str
    fit: Fit | None
    draws: Draws | None
    version: int
    create_time: datetime
    update_time: datetime
    origin: Origin = field(default_factory=Origin)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One thing to do.

    Attributes:
        code: Stable word.
        channel: Empty where it is about all.
        text: One sentence; the same numbers give the same words.
        expected_change: Of the outcome, in its units; none where none can be said.
        confidence: 0 to 1.
    """

    code: str
    channel: str
    text: str
    expected_change: float | None
    confidence: float


@dataclass(frozen=True, slots=True)
class AttributedChannel:
    """What one channel is credited with; money in currency units."""

    channel: str
    share: Estimate
    conversions: float
    revenue: float
    spend: float

    @property
    def roas(self) -> float | None:
        """Revenue for spend; none where nothing was spent."""
        return self.revenue / self.spend if self.spend else None


@dataclass(frozen=True, slots=True)
class AttributionResult:
    """One attribution; its id is empty where it was not kept."""

    id: str
    model: str
    model_type: ModelType
    window_days: int
    selection: Selection
    channels: tuple[AttributedChannel, ...]
    unattributed_share: float
    performance: Performance | None
    recommendations: tuple[Recommendation, ...]
    quality_score: float
    caveats: tuple[str, ...]
    create_time: datetime
    origin: Origin = field(default_factory=Origin)


class ExperimentType(StrEnum):
    """How units are chosen."""

    AB_TEST = "ab_test"
    HOLDOUT = "holdout"
    GEO = "geo"
    SWITCHBACK = "switchback"
    SYNTHETIC_CONTROL = "synthetic_control"


class ExperimentState(StrEnum):
    """Where an experiment is."""

    PLANNED = "planned"
    RUNNING = "running"
    ANALYZED = "analyzed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Group:
    """One side of a comparison: campaigns by id, regions by code, or a filter."""

    campaign_ids: tuple[str, ...] = ()
    region_codes: tuple[str, ...] = ()
    filter: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it names nothing."""
        return not (self.campaign_ids or self.region_codes or self.filter)


@dataclass(frozen=True, slots=True)
class ExperimentSpec:
    """What a person decides about an experiment; `baseline` are the days before it."""

    display_name: str
    experiment_type: ExperimentType
    method: Method
    treatment: Group
    control: Group
    days: DayRange
    baseline: DayRange
    outcome: str
    confidence_level: float


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment, by its id within the org.

    `minimum_detectable_effect` is the smallest relative effect that its days and groups would show
    with a power of 0.8.
    """

    id: str
    spec: ExperimentSpec
    state: ExperimentState
    state_reason: str
    effect: Effect | None
    minimum_detectable_effect: float | None
    version: int
    create_time: datetime
    update_time: datetime
    origin: Origin = field(default_factory=Origin)


class LiftType(StrEnum):
    """Which lift is measured."""

    INCREMENTAL = "incremental_lift"
    CONVERSION = "conversion_lift"


@dataclass(frozen=True, slots=True)
class LiftMeasurement:
    """The lift of one campaign; cost in currency units."""

    id: str
    campaign_id: str
    lift_type: LiftType
    baseline: DayRange
    treatment: DayRange
    effect: Effect
    cost: float
    create_time: datetime
    origin: Origin = field(default_factory=Origin)

    @property
    def cost_per_incremental(self) -> float | None:
        """Cost of one more unit of the outcome; none where there is no lift."""
        return self.cost / self.effect.effect.value if self.effect.effect.value > 0 else None


class BudgetGoal(StrEnum):
    """What a budget is optimised for."""

    ROI = "roi"
    REVENUE = "revenue"
    CONVERSIONS = "conversions"


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One channel of an allocation; money in currency units for the whole horizon.

    `extrapolated` says that more is recommended than was ever spent: the curve is a guess there.
    """

    channel: str
    current: float
    recommended: float
    marginal_return: Estimate
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class BudgetOptimization:
    """A recommended allocation; its id is empty where it was not kept."""

    id: str
    model: str
    goal: BudgetGoal
    horizon_days: int
    currency_code: str
    lines: tuple[BudgetLine, ...]
    current_outcome: Estimate
    optimal_outcome: Estimate
    binding_constraints: tuple[str, ...]
    create_time: datetime
    origin: Origin = field(default_factory=Origin)


Json: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Defaults of an org; version 0 where none was stored.

    `extra` is what the module's configuration held beside this, kept as it was; `requests` are the
    last ones that changed it.
    """

    parameters: Parameters
    model_type: ModelType
    validation_method: ValidationMethod
    platforms: tuple[str, ...]
    cache_seconds: float
    extra: Json
    requests: tuple[Origin, ...] = ()
    version: int = 0
    update_time: datetime | None = None


class SyncType(StrEnum):
    """How much is read from platforms."""

    INCREMENTAL = "incremental"
    FULL = "full"


class SyncState(StrEnum):
    """Where a sync is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SyncedPlatform:
    """One platform of a sync; `error` says why it failed, and `runs` who read it on Core."""

    platform: str
    state: SyncState
    row_count: int = 0
    runs: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class PlatformSync:
    """One reading of platforms."""

    id: str
    sync_type: SyncType
    days: DayRange
    state: SyncState
    platforms: tuple[SyncedPlatform, ...]
    start_time: datetime
    end_time: datetime | None
    origin: Origin = field(default_factory=Origin)
