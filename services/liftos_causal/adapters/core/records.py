"""Records as artifacts of Core, a scope for each kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from pydantic import TypeAdapter

from liftos.memory.v1.artifact_pb2 import (
    ARTIFACT_KIND_MODEL,
    ARTIFACT_KIND_MODULE_MEMORY,
    ARTIFACT_KIND_RESULT,
    Artifact,
    ArtifactKind,
)
from liftos_causal.adapters.core.refusals import translated
from liftos_causal.adapters.draws import loaded, saved
from liftos_causal.domain.records import (
    AttributionResult,
    BudgetOptimization,
    Experiment,
    Fit,
    LiftMeasurement,
    Model,
    ModelSpec,
    ModelState,
    Origin,
    PlatformSync,
)
from liftos_causal.ports import Record
from liftos_client import OrgClients
from liftos_client.errors import EtagMismatchError, NotFoundError
from liftos_kit.core import errors
from liftos_kit.core.filters import Filter, Value, evaluate
from liftos_kit.core.paging import JsonValue
from liftos_kit.structs import plain

_MEMORY: Final = "memory"
_ORIGIN: Final = "causal"
_ATTEMPTS: Final = 10

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind(Generic[Record]):
    """How one kind of records lies in artifacts.

    Attributes:
        noun: In names of records.
        scope: Of the artifacts.
        kind: Of the artifacts.
        title: Shown to people.
        parts: Body and content of a record.
        record: Reads them.
        fields: What filters see.
        order: What pages are ordered by, a text; later first where `newest_first`.
        newest_first: Whether the order descends.
        is_served: Whether an artifact's body is a record that the module serves.
    """

    noun: str
    scope: str
    kind: ArtifactKind.ValueType
    title: Callable[[Record], str]
    parts: Callable[[Record], tuple[Body, bytes]]
    record: Callable[[Body, bytes], Record]
    fields: Callable[[str, Record], Mapping[str, Value | None]]
    order: Callable[[Record], str]
    newest_first: bool = True
    is_served: Callable[[Body], bool] = lambda _body: True


class CoreRecords(Generic[Record]):
    """See `liftos_causal.ports.Records`."""

    def __init__(self, clients: OrgClients, kind: Kind[Record]) -> None:
        self._clients = clients
        self._kind: Kind[Record] = kind

    async def get(self, org: str, record_id: str) -> Record | None:
        """Return a record."""
        artifact = await self._artifact(org, record_id)
        if artifact is None or not self._kind.is_served(plain(artifact.body)):
            return None
        return self._record(artifact)

    async def add(self, org: str, record: Record) -> Record:
        """Keep a new record."""
        try:
            await self._put(org, record, etag="0")
        except EtagMismatchError:
            raise errors.AlreadyExistsError(self._name(org, record.id)) from None
        return record

    async def change(self, org: str, record_id: str, change: Callable[[Record], Record]) -> Record:
        """Keep what `change` makes of a record."""
        for _ in range(_ATTEMPTS):
            artifact = await self._artifact(org, record_id)
            if artifact is None:
                raise errors.NotFoundError(self._name(org, record_id))
            changed = change(self._record(artifact))
            try:
                await self._put(org, changed, etag=artifact.etag)
            except EtagMismatchError:
                continue
            return changed
        raise errors.EtagMismatchError(self._name(org, record_id))

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[Record], JsonValue]:
        """Return a page."""
        with translated(_MEMORY):
            pages = self._clients.of(org).memory.list_artifacts(
                filter=f'scope = "{self._kind.scope}"', page_size=1_000
            )
            records = [
                self._record(artifact)
                async for artifact in pages
                if self._kind.is_served(plain(artifact.body))
            ]
        found = [each for each in records if evaluate(where, self._kind.fields(org, each))]
        found.sort(key=lambda each: each.id)
        found.sort(key=self._kind.order, reverse=self._kind.newest_first)
        keys = [[self._kind.order(each), each.id] for each in found]
        start = keys.index(cursor) + 1 if cursor in keys else 0
        end = start + limit
        return found[start:end], keys[end - 1] if end < len(found) else None

    async def _artifact(self, org: str, record_id: str) -> Artifact | None:
        with translated(_MEMORY):
            try:
                return await self._clients.of(org).memory.get_artifact(self._id(record_id))
            except NotFoundError:
                return None

    async def _put(self, org: str, record: Record, *, etag: str) -> None:
        body, content = self._kind.parts(record)
        artifact = Artifact(
            name=f"orgs/{org}/artifacts/{self._id(record.id)}",
            kind=self._kind.kind,
            scope=self._kind.scope,
            display_name=self._kind.title(record),
            body=ParseDict(body, Struct()),
            content=content,
            content_type="application/x-npz" if content else "",
            etag=etag,
        )
        with translated(_MEMORY):
            await self._clients.of(org).memory.batch_upsert_artifacts([artifact], origin=_ORIGIN)

    def _record(self, artifact: Artifact) -> Record:
        return self._kind.record(plain(artifact.body), artifact.content)

    def _id(self, record_id: str) -> str:
        return f"{self._kind.scope}.{record_id}"

    def _name(self, org: str, record_id: str) -> str:
        return f"orgs/{org}/{self._kind.noun}/{record_id}"


_SPEC: Final = TypeAdapter(ModelSpec)
_FIT: Final = TypeAdapter(Fit | None)
_REQUEST: Final = TypeAdapter(Origin)
_TIME: Final = TypeAdapter(datetime)


def _model_parts(model: Model) -> tuple[Body, bytes]:
    return (
        {
            "id": model.id,
            "spec": _SPEC.dump_python(model.spec, mode="json"),
            "state": model.state.value,
            "state_reason": model.state_reason,
            "fit": _FIT.dump_python(model.fit, mode="json"),
            "version": model.version,
            "create_time": model.create_time.isoformat(),
            "update_time": model.update_time.isoformat(),
            "origin": _REQUEST.dump_python(model.origin, mode="json"),
        },
        b"" if model.draws is None else saved(model.draws),
    )


def _model(body: Body, content: bytes) -> Model:
    return Model(
        id=body["id"],
        spec=_SPEC.validate_python(body["spec"]),
        state=ModelState(body["state"]),
        state_reason=body["state_reason"],
        fit=_FIT.validate_python(body["fit"]),
        # Lists come without content.
        draws=loaded(content) if content else None,
        version=body["version"],
        create_time=_TIME.validate_python(body["create_time"]),
        update_time=_TIME.validate_python(body["update_time"]),
        origin=_REQUEST.validate_python(body["origin"]),
    )


MODELS: Final[Kind[Model]] = Kind(
    noun="attributionModels",
    scope="causal.models",
    kind=ARTIFACT_KIND_MODEL,
    title=lambda model: model.spec.display_name,
    parts=_model_parts,
    record=_model,
    fields=lambda _org, model: {
        "model_type": model.spec.model_type.name,
        "state": model.state.name,
        "display_name": model.spec.display_name,
    },
    order=lambda model: model.id,
    newest_first=False,
)


def _as_body(adapter: TypeAdapter[Any]) -> Callable[[Any], tuple[Body, bytes]]:
    return lambda record: (adapter.dump_python(record, mode="json"), b"")


def _of_body(adapter: TypeAdapter[Any]) -> Callable[[Body, bytes], Any]:
    return lambda body, _: adapter.validate_python(body)


def _when(time: datetime) -> str:
    return time.isoformat()


_RESULT: Final = TypeAdapter(AttributionResult)
RESULTS: Final[Kind[AttributionResult]] = Kind(
    noun="attributionResults",
    scope="causal.results",
    kind=ARTIFACT_KIND_RESULT,
    title=lambda result: (
        f"Attribution of {result.selection.days.start} to {result.selection.days.end}"
    ),
    parts=_as_body(_RESULT),
    record=_of_body(_RESULT),
    fields=lambda org, result: {
        "attribution_model": f"orgs/{org}/attributionModels/{result.model}"
        if result.model
        else None,
        "model_type": result.model_type.name,
        "create_time": result.create_time.date(),
    },
    order=lambda result: _when(result.create_time),
    # Results from before the module was rewritten say nothing but their shares.
    is_served=lambda body: body.get("model_type") is not None,
)

_EXPERIMENT: Final = TypeAdapter(Experiment)
EXPERIMENTS: Final[Kind[Experiment]] = Kind(
    noun="experiments",
    scope="causal.experiments",
    kind=ARTIFACT_KIND_RESULT,
    title=lambda experiment: experiment.spec.display_name,
    parts=_as_body(_EXPERIMENT),
    record=_of_body(_EXPERIMENT),
    fields=lambda _org, experiment: {
        "experiment_type": experiment.spec.experiment_type.name,
        "state": experiment.state.name,
        "display_name": experiment.spec.display_name,
    },
    order=lambda experiment: _when(experiment.create_time),
)

_LIFT: Final = TypeAdapter(LiftMeasurement)
LIFTS: Final[Kind[LiftMeasurement]] = Kind(
    noun="liftMeasurements",
    scope="causal.lifts",
    kind=ARTIFACT_KIND_RESULT,
    title=lambda lift: f"Lift of {lift.campaign_id}",
    parts=_as_body(_LIFT),
    record=_of_body(_LIFT),
    fields=lambda _org, lift: {
        "campaign_id": lift.campaign_id,
        "lift_type": lift.lift_type.name,
        "create_time": lift.create_time.date(),
    },
    order=lambda lift: _when(lift.create_time),
)

_BUDGET: Final = TypeAdapter(BudgetOptimization)
BUDGETS: Final[Kind[BudgetOptimization]] = Kind(
    noun="budgetOptimizations",
    scope="causal.budgets",
    kind=ARTIFACT_KIND_RESULT,
    title=lambda budget: f"Budget for {budget.horizon_days} days",
    parts=_as_body(_BUDGET),
    record=_of_body(_BUDGET),
    fields=lambda org, budget: {
        "attribution_model": f"orgs/{org}/attributionModels/{budget.model}",
        "goal": budget.goal.name,
        "create_time": budget.create_time.date(),
    },
    order=lambda budget: _when(budget.create_time),
)

_SYNC: Final = TypeAdapter(PlatformSync)
SYNCS: Final[Kind[PlatformSync]] = Kind(
    noun="platformSyncs",
    scope="causal.syncs",
    kind=ARTIFACT_KIND_MODULE_MEMORY,
    title=lambda sync: f"Sync of {sync.days.start} to {sync.days.end}",
    parts=_as_body(_SYNC),
    record=_of_body(_SYNC),
    fields=lambda _org, _sync: {},
    order=lambda sync: _when(sync.start_time),
)
