"""Load on the Causal module: all its methods in turn, and writers whose writes are told to a file.

What the service has acknowledged stands in the journal, so that whoever moves the module can be
held to it: each line is one write that must be found again.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO
from uuid import uuid4

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct

from liftos.causal.v1 import causal_pb2, causal_service_pb2_grpc
from liftos.causal.v1 import causal_service_pb2 as pb
from liftos.common.v1.marketing_pb2 import DateRange

WRITERS: Final = 4
CALLS_PER_SECOND: Final = 20.0
DAYS: Final = 730

_LEAST_DAYS: Final = 56
"""Fewer give no attribution."""
_LIFT_DAYS: Final = 42

_DEADLINE_SECONDS: Final = 30.0
_MODEL: Final = "load"


class Journal:
    """Acknowledged writes, a line each, on the disk before the next call is made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        self._file = self._path.open("a")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._file is not None
        self._file.close()

    def acknowledged(self, kind: str, name: str, version: int) -> None:
        """Note a write that was acknowledged."""
        assert self._file is not None
        self._file.write(json.dumps({"kind": kind, "name": name, "version": version}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@dataclass(slots=True)
class LoadCount:
    """What a load came to.

    Attributes:
        calls: By method.
        failures: By method and code.
        seconds: Of all calls of a method.
        writes: That were acknowledged.
    """

    calls: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    writes: int = 0


class Load:
    """Calls all methods of a Causal service.

    Args:
        stub: Of the service.
        org: Whose data.
        metadata: Of each call.
        last_day: Newest day with numbers.
        journal: For writes.
        days: Days with numbers up to the newest; what is asked stays within them.
        seed: Of what is chosen.
    """

    def __init__(
        self,
        stub: "causal_service_pb2_grpc.CausalServiceAsyncStub",
        *,
        org: str,
        metadata: tuple[tuple[str, str], ...],
        last_day: date,
        journal: Journal,
        days: int = DAYS,
        seed: int = 1,
    ) -> None:
        self._stub = stub
        self._parent = f"orgs/{org}"
        self._metadata = metadata
        self._last_day = last_day
        self._journal = journal
        self._day_count = days
        self._chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.count = LoadCount()

    async def prepare(self) -> None:
        """Fit the model that reads rest on, unless it is there."""
        name = f"{self._parent}/attributionModels/{_MODEL}"
        request = pb.CreateModelRequest(
            attribution_model=causal_pb2.AttributionModel(
                name=name, display_name="Load", training_data=self._days(365)
            ),
            request_id=str(uuid4()),
        )
        try:
            await self._stub.CreateModel(request, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise

    async def run(
        self, stop: asyncio.Event, *, rate: float = CALLS_PER_SECOND, writers: int = WRITERS
    ) -> LoadCount:
        """Call until `stop`.

        Args:
            stop: Ends it.
            rate: Calls a second, reads and writes together.
            writers: How many write at a time; half of the calls are theirs.
        """
        async with asyncio.TaskGroup() as tasks:
            for number in range(writers):
                tasks.create_task(self._write(stop, writers / (rate / 2)), name=f"writer {number}")
                tasks.create_task(self._read(stop, writers / (rate / 2)), name=f"reader {number}")
        return self.count

    async def _read(self, stop: asyncio.Event, pause: float) -> None:
        reads = list(self._reads().items())
        while not stop.is_set():
            name, read = self._chance.choice(reads)
            await self._called(name, read, pause)

    async def _write(self, stop: asyncio.Event, pause: float) -> None:
        writes = list(self._writes().items())
        while not stop.is_set():
            name, write = self._chance.choice(writes)
            await self._called(name, write, pause)

    async def _called(self, name: str, call: Callable[[], Awaitable[Any]], pause: float) -> None:
        """Make one call, and wait for the rest of its time."""
        begun = time.monotonic()
        try:
            await call()
            self.count.calls[name] += 1
            self.count.seconds[name] += time.monotonic() - begun  # type: ignore[assignment]
        except grpc.aio.AioRpcError as error:
            self.count.failures[name, error.code().name] += 1
        await asyncio.sleep(max(pause - (time.monotonic() - begun), 0.0))

    def _reads(self) -> Mapping[str, Callable[[], Awaitable[Any]]]:
        stub, parent = self._stub, self._parent
        model = f"{parent}/attributionModels/{_MODEL}"
        listed: Mapping[str, Any] = {
            "ListModels": pb.ListModelsRequest(parent=parent),
            "ListAttributionResults": pb.ListAttributionResultsRequest(parent=parent, page_size=50),
            "ListExperiments": pb.ListExperimentsRequest(parent=parent, page_size=50),
            "ListLiftMeasurements": pb.ListLiftMeasurementsRequest(parent=parent, page_size=50),
            "ListBudgetOptimizations": pb.ListBudgetOptimizationsRequest(
                parent=parent, page_size=50
            ),
            "GetModel": pb.GetModelRequest(name=model),
            "GetConfiguration": pb.GetConfigurationRequest(name=f"{parent}/causalConfiguration"),
            "ListInsights": pb.ListInsightsRequest(
                parent=parent, date_range=self._days(90).date_range
            ),
        }
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            name: lambda name=name, request=request: getattr(stub, name)(  # type: ignore[misc]
                request, metadata=self._metadata, timeout=_DEADLINE_SECONDS
            )
            for name, request in listed.items()
        }
        calls["AnalyzeAttribution"] = lambda: self._send(
            "AnalyzeAttribution",
            pb.AnalyzeAttributionRequest(
                parent=parent,
                attribution_model=model,
                training_data=self._days(self._chance.choice((60, 90, 180))),
            ),
        )
        calls["OptimizeBudget"] = lambda: self._send(
            "OptimizeBudget",
            pb.OptimizeBudgetRequest(
                parent=parent,
                attribution_model=model,
                total_micros=self._chance.randint(100, 400) * 1_000_000_000,
            ),
        )
        return calls

    def _writes(self) -> Mapping[str, Callable[[], Awaitable[Any]]]:
        return {
            "RunExperiment": self._plan_experiment,
            "UpdateConfiguration": self._configure,
            "MeasureLift": self._measure_lift,
            "OptimizeBudget (stored)": self._keep_budget,
        }

    async def _plan_experiment(self) -> None:
        name = f"{self._parent}/experiments/load-{uuid4().hex[:12]}"
        start = self._last_day + timedelta(days=self._chance.randint(400, 800))
        answer = await self._send(
            "RunExperiment",
            pb.RunExperimentRequest(
                experiment=causal_pb2.Experiment(
                    name=name,
                    display_name="Planned under load",
                    experiment_type=causal_pb2.EXPERIMENT_TYPE_AB_TEST,
                    treatment=causal_pb2.ExperimentGroup(campaign_ids=["meta-0001"]),
                    control=causal_pb2.ExperimentGroup(campaign_ids=["meta-0002", "meta-0003"]),
                    date_range=_range(start, start + timedelta(days=13)),
                ),
                request_id=str(uuid4()),
            ),
        )
        self._written("experiment", answer.experiment.name, int(answer.experiment.etag))

    async def _configure(self) -> None:
        extra = Struct()
        extra.update({"touched": self._chance.randint(0, 10**9)})
        answer = await self._send(
            "UpdateConfiguration",
            pb.UpdateConfigurationRequest(
                causal_configuration=causal_pb2.CausalConfiguration(
                    name=f"{self._parent}/causalConfiguration", extra=extra
                ),
                update_mask=FieldMask(paths=["extra"]),
                request_id=str(uuid4()),
            ),
        )
        stored = answer.causal_configuration
        self._written("configuration", stored.name, int(stored.etag))

    async def _measure_lift(self) -> None:
        back = min(60, self._day_count - _LIFT_DAYS)
        end = self._last_day - timedelta(days=self._chance.randint(0, back))
        start = end - timedelta(days=13)
        answer = await self._send(
            "MeasureLift",
            pb.MeasureLiftRequest(
                parent=self._parent,
                campaign_id=f"google_ads-{self._chance.randint(0, 49):04d}",
                baseline_date_range=_range(start - timedelta(days=28), start - timedelta(days=1)),
                treatment_date_range=_range(start, end),
                store=True,
                request_id=str(uuid4()),
            ),
        )
        self._written("lift", answer.lift_measurement.name, 1)

    async def _keep_budget(self) -> None:
        answer = await self._send(
            "OptimizeBudget",
            pb.OptimizeBudgetRequest(
                parent=self._parent,
                attribution_model=f"{self._parent}/attributionModels/{_MODEL}",
                total_micros=self._chance.randint(100, 400) * 1_000_000_000,
                goal=causal_pb2.BUDGET_GOAL_REVENUE,
                store=True,
                request_id=str(uuid4()),
            ),
        )
        self._written("budget", answer.budget_optimization.name, 1)

    async def _send(self, method: str, request: Any) -> Any:  # noqa: ANN401 - of any method
        call = getattr(self._stub, method)
        return await call(request, metadata=self._metadata, timeout=_DEADLINE_SECONDS)

    def _written(self, kind: str, name: str, version: int) -> None:
        self._journal.acknowledged(kind, name, version)
        self.count.writes += 1

    def _days(self, count: int) -> causal_pb2.TrainingData:
        first = self._last_day - timedelta(days=min(count, self._day_count) - 1)
        return causal_pb2.TrainingData(date_range=_range(first, self._last_day))


def _days(text: str) -> int:
    days = int(text)
    if days < _LEAST_DAYS:
        raise argparse.ArgumentTypeError(f"at least {_LEAST_DAYS} days are needed, not {days}")
    return days


def _range(start: date, end: date) -> DateRange:
    return DateRange(start_date=start.isoformat(), end_date=end.isoformat())


async def _run(arguments: argparse.Namespace) -> int:
    token = os.environ["LIFTOS_TOKEN"]
    metadata = (("authorization", f"Bearer {token}"),)
    stop = asyncio.Event()
    async with grpc.aio.insecure_channel(arguments.target) as channel:
        stub = causal_service_pb2_grpc.CausalServiceStub(channel)
        with Journal(arguments.journal) as journal:
            load = Load(
                stub,
                org=arguments.org,
                metadata=metadata,
                last_day=arguments.last_day,
                journal=journal,
                days=arguments.days,
            )
            await load.prepare()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop.set)
            if arguments.seconds is not None:
                loop.call_later(arguments.seconds, stop.set)
            count = await load.run(stop, rate=arguments.rate, writers=arguments.writers)
    if arguments.json:
        print(json.dumps(_as_json(count)))
    else:
        _print(count)
    return 1 if count.failures else 0


def _print(count: LoadCount) -> None:
    for name, calls in sorted(count.calls.items()):
        mean = 1000 * count.seconds[name] / calls
        print(f"{name:28} {calls:6} calls {mean:8.1f} ms")
    for (name, code), failures in sorted(count.failures.items()):
        print(f"{name:28} {failures:6} {code}")
    print(f"{count.writes} writes acknowledged")


def _as_json(count: LoadCount) -> dict[str, object]:
    return {
        "calls": dict(count.calls),
        "mean_ms": {
            name: 1000 * count.seconds[name] / calls for name, calls in count.calls.items()
        },
        "failures": {f"{name} {code}": number for (name, code), number in count.failures.items()},
        "writes": count.writes,
    }


def main() -> int:
    """Put load on a Causal service until a signal or the end; the token is `LIFTOS_TOKEN`."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    parser = argparse.ArgumentParser(prog="liftos_causal.load", description=__doc__)
    parser.add_argument("--target", default="127.0.0.1:8008", help="host:port of the service")
    parser.add_argument("--org", default="acme", help="whose data; the token's")
    parser.add_argument(
        "--last-day",
        type=date.fromisoformat,
        default=yesterday,
        help="newest day with numbers; by default yesterday",
    )
    parser.add_argument(
        "--days", type=_days, default=DAYS, help="days with numbers up to the newest, at least 56"
    )
    parser.add_argument("--seconds", type=float, help="how long; by default until Ctrl-C")
    parser.add_argument("--rate", type=float, default=CALLS_PER_SECOND, help="calls a second")
    parser.add_argument("--writers", type=int, default=WRITERS, help="how many write at a time")
    parser.add_argument(
        "--journal", type=Path, default=Path("acknowledged.jsonl"), help="for acknowledged writes"
    )
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    return asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
