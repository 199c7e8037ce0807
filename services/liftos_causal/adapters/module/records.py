"""Records in the tables of the module's own Postgres."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Generic
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from liftos_causal.adapters.draws import loaded, saved
from liftos_causal.domain.curves import Estimate
from liftos_causal.domain.effects import Effect, Method
from liftos_causal.domain.mix_model import Parameters
from liftos_causal.domain.records import (
    AttributedChannel,
    AttributionResult,
    BudgetGoal,
    BudgetLine,
    BudgetOptimization,
    DayRange,
    Experiment,
    ExperimentSpec,
    ExperimentState,
    ExperimentType,
    Fit,
    Group,
    LiftMeasurement,
    LiftType,
    Model,
    ModelSpec,
    ModelState,
    ModelType,
    Origin,
    PlatformSync,
    Recommendation,
    Selection,
    SyncedPlatform,
    SyncState,
    SyncType,
)
from liftos_causal.domain.validation import Performance, ValidationMethod
from liftos_causal.ports import Record
from liftos_kit import postgres
from liftos_kit.core.errors import AlreadyExistsError, NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.postgres_pages import Listing, Order, read_page

_PARAMETERS: Final = TypeAdapter(Parameters)
_SELECTION: Final = TypeAdapter(Selection)
_FIT: Final = TypeAdapter(Fit)
_ORIGIN: Final = TypeAdapter(Origin)
_ORIGINS: Final = TypeAdapter(tuple[Origin, ...])
_PLATFORMS: Final = TypeAdapter(tuple[SyncedPlatform, ...])
_PERFORMANCE: Final = TypeAdapter(Performance | None)
_RECOMMENDATIONS: Final = TypeAdapter(tuple[Recommendation, ...])
_GROUP: Final = TypeAdapter(Group)
_EFFECT: Final = TypeAdapter(Effect)
_LINES: Final = TypeAdapter(tuple[BudgetLine, ...])
_ESTIMATE: Final = TypeAdapter(Estimate)
_DAYS: Final = TypeAdapter(DayRange)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Record]):
    """How one kind of records lies in its table.

    Attributes:
        noun: In names of records.
        get: Statement that reads one, by org and id; its id is text.
        insert: Statements that add one, with the values of each.
        update: Statement that changes one, with its values; None where a record never changes.
        record: Reads a row.
        listing: Its pages.
    """

    noun: str
    get: str
    insert: Callable[[str, Record], tuple[str, Sequence[Sequence[object]]]]
    update: Callable[[str, Record], tuple[str, Sequence[object]]] | None
    record: Callable[[Mapping[str, Any]], Record]
    listing: Listing


class ModuleRecords(Generic[Record]):
    """See `liftos_causal.ports.Records`."""

    def __init__(self, pool: asyncpg.Pool, kind: Kind[Record]) -> None:
        self._pool = pool
        self._kind = kind

    async def get(self, org: str, record_id: str) -> Record | None:
        """Return a record."""
        with postgres.translate_errors():
            row = await self._pool.fetchrow(self._kind.get, org, record_id)
        return None if row is None else self._kind.record(row)

    async def add(self, org: str, record: Record) -> Record:
        """Keep a new record."""
        statement, rows = self._kind.insert(org, record)
        async with postgres.transaction(self._pool, org=None) as connection:
            try:
                await connection.executemany(statement, rows)
            except asyncpg.UniqueViolationError:
                raise AlreadyExistsError(self._name(org, record.id)) from None
        return record

    async def change(self, org: str, record_id: str, change: Callable[[Record], Record]) -> Record:
        """Keep what `change` makes of a record."""
        assert self._kind.update is not None, "records of this kind never change"
        async with postgres.transaction(self._pool, org=None) as connection:
            row = await connection.fetchrow(f"{self._kind.get} for update", org, record_id)
            if row is None:
                raise NotFoundError(self._name(org, record_id))
            changed = change(self._kind.record(row))
            statement, values = self._kind.update(org, changed)
            await connection.execute(statement, *values)
        return changed

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[Record], JsonValue]:
        """Return a page."""
        async with postgres.transaction(self._pool, org=None, read_only=True) as connection:
            rows, following = await read_page(
                connection, self._kind.listing, [org], where=where, cursor=cursor, limit=limit
            )
        return [self._kind.record(row) for row in rows], following

    def _name(self, org: str, record_id: str) -> str:
        return f"orgs/{org}/{self._kind.noun}/{record_id}"


def _named(words: type[StrEnum], column: str) -> str:
    """Return SQL for the contract's word of a column that holds the database's."""
    cases = " ".join(f"when '{word.value}' then '{word.name}'" for word in words)
    return f"(case {column} {cases} end)"


def _insert_model(org: str, model: Model) -> tuple[str, Sequence[Sequence[object]]]:
    return (
        """/* insert_model */
        insert into attribution_models (org_id, model_id, model_name, model_type, model_config,
            status, status_reason, feature_importance, model_accuracy, validation_metrics,
            model_artifact, version, request, trained_at, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        """,
        [_model_values(org, model)],
    )


def _model_values(org: str, model: Model) -> Sequence[object]:
    spec, fit = model.spec, model.fit
    performance = None if fit is None else fit.performance
    return (
        org,
        model.id,
        spec.display_name,
        spec.model_type.value,
        {
            "parameters": _PARAMETERS.dump_python(spec.parameters, mode="json"),
            "selection": _SELECTION.dump_python(spec.selection, mode="json"),
            "validation_method": spec.validation_method.value,
        },
        model.state.value,
        model.state_reason,
        None if fit is None else _FIT.dump_python(fit, mode="json"),
        None if performance is None else performance.r_squared,
        _PERFORMANCE.dump_python(performance, mode="json"),
        None if model.draws is None else saved(model.draws),
        model.version,
        _ORIGIN.dump_python(model.origin, mode="json"),
        # The module keeps its clock's time without a zone; it runs in UTC.
        model.update_time.astimezone(UTC).replace(tzinfo=None),
        model.create_time,
    )


def _model(row: Mapping[str, Any]) -> Model:
    config = row["model_config"]
    fitted = row["feature_importance"]
    return Model(
        id=row["model_id"],
        spec=ModelSpec(
            display_name=row["model_name"],
            model_type=ModelType(row["model_type"]),
            validation_method=ValidationMethod(config["validation_method"]),
            parameters=_PARAMETERS.validate_python(config["parameters"]),
            selection=_SELECTION.validate_python(config["selection"]),
        ),
        state=ModelState(row["status"]),
        state_reason=row["status_reason"],
        fit=None if fitted is None else _FIT.validate_python(fitted),
        draws=None if row["model_artifact"] is None else loaded(row["model_artifact"]),
        version=row["version"],
        create_time=row["created_at"],
        update_time=row["trained_at"].replace(tzinfo=UTC),
        origin=_ORIGIN.validate_python(row["request"]),
    )


MODELS: Final[Kind[Model]] = Kind(
    noun="attributionModels",
    get="/* get_model */ select * from attribution_models where org_id = $1 and model_id = $2",
    insert=_insert_model,
    update=None,
    record=_model,
    listing=Listing(
        name="list_models",
        select="""
            select org_id, model_id, model_name, model_type, model_config, status, status_reason,
                   feature_importance, null::bytea as model_artifact, version, request, trained_at,
                   created_at
            from attribution_models where org_id = $1
        """,
        order=(Order("model_id", "text"),),
        fields={
            "model_type": _named(ModelType, "model_type"),
            "state": _named(ModelState, "status"),
            "display_name": "model_name",
        },
    ),
)


_RESULT_ROWS: Final = """
    select result_id::text as id, org_id, coalesce(max(model_id), '') as model_id,
           max(attribution_window) as attribution_window, min(computed_at) as computed_at,
           (array_agg(details order by position))[1] as details,
           jsonb_agg(jsonb_build_object('channel', channel, 'share', share, 'low', ci_low,
               'high', ci_high, 'conversions', conversions, 'revenue', revenue, 'spend', spend)
               order by position) as channels
    from attribution_results
"""


def _insert_result(org: str, result: AttributionResult) -> tuple[str, Sequence[Sequence[object]]]:
    details = {
        "model_type": result.model_type.value,
        "selection": _SELECTION.dump_python(result.selection, mode="json"),
        "unattributed_share": result.unattributed_share,
        "performance": _PERFORMANCE.dump_python(result.performance, mode="json"),
        "recommendations": _RECOMMENDATIONS.dump_python(result.recommendations, mode="json"),
        "quality_score": result.quality_score,
        "caveats": list(result.caveats),
        "request": _ORIGIN.dump_python(result.origin, mode="json"),
    }
    return (
        """/* insert_result */
        insert into attribution_results (result_id, channel, org_id, model_id, attribution_window,
            share, ci_low, ci_high, conversions, revenue, spend, position, details, computed_at)
        values ($1, $2, $3, nullif($4, ''), $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        """,
        [
            (
                UUID(result.id),
                each.channel,
                org,
                result.model,
                result.window_days,
                each.share.value,
                each.share.low,
                each.share.high,
                each.conversions,
                each.revenue,
                each.spend,
                position,
                details if position == 0 else {},
                result.create_time,
            )
            for position, each in enumerate(result.channels)
        ],
    )


def _result(row: Mapping[str, Any]) -> AttributionResult:
    details = row["details"]
    return AttributionResult(
        id=UUID(row["id"]).hex,
        model=row["model_id"],
        model_type=ModelType(details["model_type"]),
        window_days=row["attribution_window"],
        selection=_SELECTION.validate_python(details["selection"]),
        channels=tuple(
            AttributedChannel(
                each["channel"],
                Estimate(each["share"], each["low"], each["high"]),
                each["conversions"],
                each["revenue"],
                each["spend"],
            )
            for each in row["channels"]
        ),
        unattributed_share=details["unattributed_share"],
        performance=_PERFORMANCE.validate_python(details["performance"]),
        recommendations=_RECOMMENDATIONS.validate_python(details["recommendations"]),
        quality_score=details["quality_score"],
        caveats=tuple(details["caveats"]),
        create_time=row["computed_at"],
        origin=_ORIGIN.validate_python(details["request"]),
    )


# Results from before the module was rewritten say nothing but their shares, and are not served.
RESULTS: Final[Kind[AttributionResult]] = Kind(
    noun="attributionResults",
    get=f"""/* get_result */
        select * from ({_RESULT_ROWS} where org_id = $1 and result_id = $2::text::uuid
                       group by result_id, org_id) r where details ? 'model_type'
    """,  # noqa: S608 - text of ours
    insert=_insert_result,
    update=None,
    record=_result,
    listing=Listing(
        name="list_results",
        select=f"""
            select * from ({_RESULT_ROWS} where org_id = $1 group by result_id, org_id) r
            where details ? 'model_type'
        """,  # noqa: S608 - as above
        order=(Order("computed_at", "timestamptz", descends=True), Order("id", "text")),
        fields={
            "attribution_model": "'orgs/' || $1 || '/attributionModels/' || model_id",
            "model_type": _named(ModelType, "details ->> 'model_type'"),
            "create_time": "(computed_at at time zone 'UTC')::date",
        },
    ),
)


def _experiment_values(org: str, experiment: Experiment) -> Sequence[object]:
    spec = experiment.spec
    results = None
    if experiment.effect is not None:
        results = {
            "effect": _EFFECT.dump_python(experiment.effect, mode="json"),
            "minimum_detectable_effect": experiment.minimum_detectable_effect,
        }
    return (
        org,
        experiment.id,
        spec.display_name,
        spec.experiment_type.value,
        _GROUP.dump_python(spec.treatment, mode="json"),
        _GROUP.dump_python(spec.control, mode="json"),
        {
            "method": spec.method.value,
            "baseline": _DAYS.dump_python(spec.baseline, mode="json"),
            "outcome": spec.outcome,
            "confidence_level": spec.confidence_level,
        },
        spec.days.start,
        spec.days.end,
        experiment.state.value,
        experiment.state_reason,
        results,
        experiment.version,
        _ORIGIN.dump_python(experiment.origin, mode="json"),
        experiment.create_time,
        experiment.update_time,
    )


_EXPERIMENT_COLUMNS: Final = """experiment_name, experiment_type, treatment_groups, control_groups,
    settings, start_date, end_date, status, status_reason, results, version, request, created_at,
    updated_at"""
_EXPERIMENT_PLACES: Final = ", ".join(f"${number}" for number in range(3, 17))


def _insert_experiment(org: str, experiment: Experiment) -> tuple[str, Sequence[Sequence[object]]]:
    return (
        f"""/* insert_experiment */
        insert into causal_experiments (org_id, experiment_id, {_EXPERIMENT_COLUMNS})
        values ($1, $2, {_EXPERIMENT_PLACES})
        """,  # noqa: S608 - text of ours
        [_experiment_values(org, experiment)],
    )


def _update_experiment(org: str, experiment: Experiment) -> tuple[str, Sequence[object]]:
    return (
        f"""/* update_experiment */
        update causal_experiments set ({_EXPERIMENT_COLUMNS}) = row({_EXPERIMENT_PLACES})
        where org_id = $1 and experiment_id = $2
        """,  # noqa: S608 - text of ours
        _experiment_values(org, experiment),
    )


def _experiment(row: Mapping[str, Any]) -> Experiment:
    settings, results = row["settings"], row["results"]
    return Experiment(
        id=row["experiment_id"],
        spec=ExperimentSpec(
            display_name=row["experiment_name"],
            experiment_type=ExperimentType(row["experiment_type"]),
            method=Method(settings["method"]),
            treatment=_GROUP.validate_python(row["treatment_groups"]),
            control=_GROUP.validate_python(row["control_groups"]),
            days=DayRange(row["start_date"], row["end_date"]),
            baseline=_DAYS.validate_python(settings["baseline"]),
            outcome=settings["outcome"],
            confidence_level=settings["confidence_level"],
        ),
        state=ExperimentState(row["status"]),
        state_reason=row["status_reason"],
        effect=None if results is None else _EFFECT.validate_python(results["effect"]),
        minimum_detectable_effect=None if results is None else results["minimum_detectable_effect"],
        version=row["version"],
        create_time=row["created_at"],
        update_time=row["updated_at"],
        origin=_ORIGIN.validate_python(row["request"]),
    )


EXPERIMENTS: Final[Kind[Experiment]] = Kind(
    noun="experiments",
    get="""/* get_experiment */
        select * from causal_experiments where org_id = $1 and experiment_id = $2
    """,
    insert=_insert_experiment,
    update=_update_experiment,
    record=_experiment,
    listing=Listing(
        name="list_experiments",
        select="select * from causal_experiments where org_id = $1",
        order=(
            Order("created_at", "timestamptz", descends=True),
            Order("experiment_id", "text"),
        ),
        fields={
            "experiment_type": _named(ExperimentType, "experiment_type"),
            "state": _named(ExperimentState, "status"),
            "display_name": "experiment_name",
        },
    ),
)


def _insert_lift(org: str, lift: LiftMeasurement) -> tuple[str, Sequence[Sequence[object]]]:
    return (
        """/* insert_lift */
        insert into lift_measurements (id, org_id, campaign_id, lift_type, baseline, treatment,
            results, cost, request, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        [
            (
                UUID(lift.id),
                org,
                lift.campaign_id,
                lift.lift_type.value,
                _range(lift.baseline),
                _range(lift.treatment),
                _EFFECT.dump_python(lift.effect, mode="json"),
                Decimal(f"{lift.cost:.6f}"),
                _ORIGIN.dump_python(lift.origin, mode="json"),
                lift.create_time,
            )
        ],
    )


def _range(days: DayRange) -> asyncpg.Range:
    return asyncpg.Range(days.start, days.end + timedelta(days=1))


def _days(stored: asyncpg.Range) -> DayRange:
    return DayRange(stored.lower, stored.upper - timedelta(days=1))


def _lift(row: Mapping[str, Any]) -> LiftMeasurement:
    return LiftMeasurement(
        id=row["id"].hex,
        campaign_id=row["campaign_id"],
        lift_type=LiftType(row["lift_type"]),
        baseline=_days(row["baseline"]),
        treatment=_days(row["treatment"]),
        effect=_EFFECT.validate_python(row["results"]),
        cost=float(row["cost"]),
        create_time=row["created_at"],
        origin=_ORIGIN.validate_python(row["request"]),
    )


LIFTS: Final[Kind[LiftMeasurement]] = Kind(
    noun="liftMeasurements",
    get="""/* get_lift */
        select * from lift_measurements where org_id = $1 and id = $2::text::uuid
    """,
    insert=_insert_lift,
    update=None,
    record=_lift,
    listing=Listing(
        name="list_lifts",
        select="select * from lift_measurements where org_id = $1",
        order=(Order("created_at", "timestamptz", descends=True), Order("id", "uuid")),
        fields={
            "campaign_id": "campaign_id",
            "lift_type": _named(LiftType, "lift_type"),
            "create_time": "(created_at at time zone 'UTC')::date",
        },
    ),
)


def _insert_budget(org: str, budget: BudgetOptimization) -> tuple[str, Sequence[Sequence[object]]]:
    return (
        """/* insert_budget */
        insert into budget_optimizations (id, org_id, model_id, optimization_goal, time_horizon,
            currency, allocation, results, request, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        [
            (
                UUID(budget.id),
                org,
                budget.model,
                budget.goal.value,
                budget.horizon_days,
                budget.currency_code,
                _LINES.dump_python(budget.lines, mode="json"),
                {
                    "current_outcome": _ESTIMATE.dump_python(budget.current_outcome),
                    "optimal_outcome": _ESTIMATE.dump_python(budget.optimal_outcome),
                    "binding_constraints": list(budget.binding_constraints),
                },
                _ORIGIN.dump_python(budget.origin, mode="json"),
                budget.create_time,
            )
        ],
    )


def _budget(row: Mapping[str, Any]) -> BudgetOptimization:
    results = row["results"]
    return BudgetOptimization(
        id=row["id"].hex,
        model=row["model_id"],
        goal=BudgetGoal(row["optimization_goal"]),
        horizon_days=row["time_horizon"],
        currency_code=row["currency"],
        lines=_LINES.validate_python(row["allocation"]),
        current_outcome=_ESTIMATE.validate_python(results["current_outcome"]),
        optimal_outcome=_ESTIMATE.validate_python(results["optimal_outcome"]),
        binding_constraints=tuple(results["binding_constraints"]),
        create_time=row["created_at"],
        origin=_ORIGIN.validate_python(row["request"]),
    )


BUDGETS: Final[Kind[BudgetOptimization]] = Kind(
    noun="budgetOptimizations",
    get="""/* get_budget */
        select * from budget_optimizations where org_id = $1 and id = $2::text::uuid
    """,
    insert=_insert_budget,
    update=None,
    record=_budget,
    listing=Listing(
        name="list_budgets",
        select="select * from budget_optimizations where org_id = $1",
        order=(Order("created_at", "timestamptz", descends=True), Order("id", "uuid")),
        fields={
            "attribution_model": "'orgs/' || $1 || '/attributionModels/' || model_id",
            "goal": _named(BudgetGoal, "optimization_goal"),
            "create_time": "(created_at at time zone 'UTC')::date",
        },
    ),
)


_SYNC_COLUMNS: Final = (
    "sync_type, date_start, date_stop, status, platforms, request, started_at, finished_at"
)


def _sync_values(org: str, sync: PlatformSync) -> Sequence[object]:
    return (
        UUID(sync.id),
        org,
        sync.sync_type.value,
        sync.days.start,
        sync.days.end,
        sync.state.value,
        _PLATFORMS.dump_python(sync.platforms, mode="json"),
        _ORIGIN.dump_python(sync.origin, mode="json"),
        sync.start_time,
        sync.end_time,
    )


def _insert_sync(org: str, sync: PlatformSync) -> tuple[str, Sequence[Sequence[object]]]:
    return (
        f"""/* insert_sync */
        insert into sync_jobs (id, org_id, {_SYNC_COLUMNS})
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,  # noqa: S608 - text of ours
        [_sync_values(org, sync)],
    )


def _update_sync(org: str, sync: PlatformSync) -> tuple[str, Sequence[object]]:
    return (
        f"""/* update_sync */
        update sync_jobs set ({_SYNC_COLUMNS}) = row($3, $4, $5, $6, $7, $8, $9, $10)
        where id = $1 and org_id = $2
        """,  # noqa: S608 - text of ours
        _sync_values(org, sync),
    )


def _sync(row: Mapping[str, Any]) -> PlatformSync:
    return PlatformSync(
        id=row["id"].hex,
        sync_type=SyncType(row["sync_type"]),
        days=DayRange(row["date_start"], row["date_stop"]),
        state=SyncState(row["status"]),
        platforms=_PLATFORMS.validate_python(row["platforms"]),
        start_time=row["started_at"],
        end_time=row["finished_at"],
        origin=_ORIGIN.validate_python(row["request"]),
    )


SYNCS: Final[Kind[PlatformSync]] = Kind(
    noun="platformSyncs",
    get="/* get_sync */ select * from sync_jobs where org_id = $1 and id = $2::text::uuid",
    insert=_insert_sync,
    update=_update_sync,
    record=_sync,
    listing=Listing(
        name="list_syncs",
        select="select * from sync_jobs where org_id = $1",
        order=(Order("started_at", "timestamptz", descends=True), Order("id", "uuid")),
        fields={},
    ),
)
