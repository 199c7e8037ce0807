"""The Causal module, alive on its own stores under load, and its side on Core."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import grpc

from liftos.causal.v1 import causal_service_pb2 as pb
from liftos.causal.v1 import causal_service_pb2_grpc
from liftos.causal.v1.causal_pb2 import AttributionResult, TrainingData
from liftos.common.v1.marketing_pb2 import DateRange
from liftos_cli.demo.movements import Check
from liftos_cli.demo.stages import Stages
from liftos_cli.figures import cell
from liftos_cli.output import Column, print_table
from liftos_local.processes import guarded

MODULE_ORG: Final = "causal"
"""An organisation of its own, whose module is filled with sample data."""

_CALLS_PER_SECOND: Final = 20
_WRITERS: Final = 4
_LOAD_SECONDS: Final = 6.0
_LEARNED_DAYS: Final = 365
_ANSWER_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.25
_PAGE_ROWS: Final = 1_000
_MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class LoadCount:
    """What a load came to.

    Attributes:
        calls: Answered calls by method.
        failures: Failed calls by method and code.
        seconds: How long it ran.
        acknowledged: Names of experiments that the module has acknowledged.
        writes: All writes that it has acknowledged.
    """

    calls: Mapping[str, int]
    failures: Mapping[str, int]
    seconds: float
    acknowledged: frozenset[str]
    writes: int

    @property
    def call_count(self) -> int:
        """Answered calls of all methods."""
        return sum(self.calls.values())


@dataclass(frozen=True, slots=True)
class CausalModule:
    """The module as the demo met it.

    Attributes:
        load: What it was asked meanwhile.
        found: Names of the experiments that it has.
        own: Which channel deserves credit, by the numbers of its own store.
        on_core: The same question to its side on Core, about the public data set.
    """

    load: LoadCount
    found: frozenset[str]
    own: AttributionResult
    on_core: AttributionResult


class Causal:
    """Calls of one side of the module.

    Args:
        channel: To it.
        org: Whose data.
        token: Of a member of the organisation.
    """

    def __init__(self, channel: grpc.aio.Channel, org: str, token: str) -> None:
        self._stub = causal_service_pb2_grpc.CausalServiceStub(channel)
        self._parent = f"orgs/{org}"
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def attribution(self, first: date, last: date) -> AttributionResult:
        """Ask which channel deserves credit for the outcome of some days."""
        days = DateRange(start_date=first.isoformat(), end_date=last.isoformat())
        answer = await self._stub.AnalyzeAttribution(
            pb.AnalyzeAttributionRequest(
                parent=self._parent, training_data=TrainingData(date_range=days)
            ),
            metadata=self._metadata,
            timeout=_ANSWER_SECONDS,
        )
        return answer.attribution_result

    async def experiments(self) -> frozenset[str]:
        """Return the names of all experiments."""
        names: set[str] = set()
        token = ""
        while True:
            page = await self._stub.ListExperiments(
                pb.ListExperimentsRequest(
                    parent=self._parent, page_size=_PAGE_ROWS, page_token=token
                ),
                metadata=self._metadata,
                timeout=_ANSWER_SECONDS,
            )
            names |= {each.name for each in page.experiments}
            token = page.next_page_token
            if not token:
                return frozenset(names)


class RunningLoad:
    """A load on the module, as a process of its own that notes what was acknowledged.

    Args:
        process: Of the load.
        journal: Where it notes.
    """

    def __init__(self, process: asyncio.subprocess.Process, journal: Path) -> None:
        self._process = process
        self._journal = journal
        self._began = asyncio.get_running_loop().time()

    def acknowledged(self) -> Sequence[Mapping[str, Any]]:
        """Return the writes that are acknowledged so far."""
        if not self._journal.exists():
            return ()
        # The last line may be half written.
        lines = self._journal.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines]

    async def end(self) -> LoadCount:
        """End it, and return what it came to."""
        seconds = asyncio.get_running_loop().time() - self._began
        self._process.terminate()
        output, _ = await self._process.communicate()
        counted = json.loads(output)
        acknowledged = self.acknowledged()
        return LoadCount(
            calls=counted["calls"],
            failures=counted["failures"],
            seconds=seconds,
            acknowledged=frozenset(
                each["name"] for each in acknowledged if each["kind"] == "experiment"
            ),
            writes=len(acknowledged),
        )


@asynccontextmanager
async def running_load(target: str, token: str, journal: Path) -> AsyncIterator[RunningLoad]:
    """Put load on the module until `end`, or until the context ends."""
    await asyncio.to_thread(journal.unlink, missing_ok=True)
    command = (
        *(sys.executable, "-m", "liftos_causal.load", "--json"),
        *("--target", target, "--org", MODULE_ORG, "--journal", str(journal)),
        *("--rate", str(_CALLS_PER_SECOND), "--writers", str(_WRITERS)),
    )
    process = await asyncio.create_subprocess_exec(
        *guarded(command),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "LIFTOS_TOKEN": token},
        cwd="/",
    )
    try:
        yield RunningLoad(process, journal)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def use_module(
    addresses: Mapping[str, str],
    token: str,
    *,
    public: tuple[str, str, date, date],
    journal: Path,
    stages: Stages,
) -> CausalModule:
    """Put load on the module, and ask both of its sides meanwhile.

    Args:
        addresses: Of the processes of the stack.
        token: Of the organisation whose module it is.
        public: Organisation of the public data set, its token, and its first and last day.
        journal: A file for what is acknowledged.
        stages: Told how it goes.
    """
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    org, public_token, first, last = public
    async with (
        grpc.aio.insecure_channel(addresses["causal-module"]) as to_module,
        grpc.aio.insecure_channel(addresses["causal-core"]) as to_core,
        running_load(addresses["causal-module"], token, journal) as load,
    ):
        module = Causal(to_module, MODULE_ORG, token)
        with stages.stage("Put load on the Causal module", unit="acknowledged writes") as advance:
            end = asyncio.get_running_loop().time() + _LOAD_SECONDS
            while asyncio.get_running_loop().time() < end:
                await asyncio.sleep(_POLL_SECONDS)
                advance(len(load.acknowledged()))
        with stages.stage("Ask which channel deserves credit, on its own store and on Core"):
            own = await module.attribution(yesterday - timedelta(days=_LEARNED_DAYS - 1), yesterday)
            on_core = await Causal(to_core, org, public_token).attribution(first, last)
        count = await load.end()
        return CausalModule(count, await module.experiments(), own, on_core)


def checks_of_module(seen: CausalModule) -> Sequence[Check]:
    """Return what has to hold of the module."""
    missing = seen.load.acknowledged - seen.found
    failures = ", ".join(f"{count} {name}" for name, count in seen.load.failures.items())
    return (
        Check(
            "the Causal module answers all calls of its load",
            seen.load.call_count > 0 and not seen.load.failures,
            failures or f"{seen.load.call_count} calls in {seen.load.seconds:.1f} s",
        ),
        Check(
            "the Causal module has every experiment that it acknowledged",
            bool(seen.load.acknowledged) and not missing,
            f"{len(seen.load.acknowledged)} of {seen.load.writes} writes are experiments,"
            f" {len(missing)} missing",
        ),
        Check(
            "the Causal module gives credit to channels, from its own store and from Core",
            all(_is_whole(result) for result in (seen.own, seen.on_core)),
            ", ".join(f"{len(result.channels)} channels" for result in (seen.own, seen.on_core)),
        ),
    )


def print_module(seen: CausalModule) -> None:
    """Print what the module was asked, and which channels it gives credit."""
    print(
        f"{seen.load.call_count} calls of {len(seen.load.calls)} methods in"
        f" {seen.load.seconds:.1f} s, {seen.load.writes} writes acknowledged."
    )
    for title, result in (
        ("Its own store, two years of sample data; the last year", seen.own),
        ("Core, the public data set; all days", seen.on_core),
    ):
        print(f"\n{title}, {result.performance.r_squared:.2f} of the variance is explained:")
        print_table(
            [
                Column("channel"),
                *(
                    Column(name, number=True)
                    for name in ("share", "95 %", "revenue", "spend", "return")
                ),
            ],
            [
                [
                    each.channel,
                    f"{each.share.value:.1%}",
                    f"{each.share.low:.1%} .. {each.share.high:.1%}",
                    f"{each.revenue_micros / _MICROS:,.0f} {result.currency_code}",
                    f"{each.spend_micros / _MICROS:,.0f} {result.currency_code}",
                    cell(each, "roas"),
                ]
                for each in result.channels
            ],
        )


def _is_whole(result: AttributionResult) -> bool:
    shares = [each.share.value for each in result.channels]
    return bool(shares) and abs(sum(shares) - 1) < 1e-6
