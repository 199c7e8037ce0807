"""Reading the three simulated platforms, and comparing what is stored with what they know."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import urlopen

from liftos.ingestion.v1.run_pb2 import Run, RunState
from liftos_cli.demo.stages import Advance, Stages
from liftos_client import Client
from liftos_client.errors import AlreadyExistsError

SIMULATED_ORG: Final = "simulated"
"""An organisation of its own, so that the numbers of the public data set stay what they are."""

_SETTLED_DAYS: Final = 100
"""Days of that age no platform restates any more, so that they stand still while we compare."""

_DAYS: Final = 7
_CONTROL_SECONDS: Final = 10.0
_EVERY_STATE: Final = "ACTIVE,PAUSED,ARCHIVED,DELETED"
_AD_METRICS: Final = ("spend_micros", "impressions", "clicks", "conversions_micros")


@dataclass(frozen=True, slots=True)
class SimulatedPlatform:
    """One platform, and which of its numbers are compared.

    Attributes:
        platform: Its word.
        level: The most detailed level that it reports.
        date_basis: What dates stand for.
        metrics: Which are compared.
    """

    platform: str
    level: str
    date_basis: str
    metrics: tuple[str, ...]


PLATFORMS: Final = (
    SimulatedPlatform("meta", "AD", "INTERACTION", _AD_METRICS),
    SimulatedPlatform("google_ads", "AD", "INTERACTION", _AD_METRICS),
    SimulatedPlatform("klaviyo", "MESSAGE", "SEND", ("sent", "delivered", "opened", "clicked")),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A sum that is not what the platform knows."""

    account_id: str
    day: str
    metric: str
    stored: int
    known: int


@dataclass(frozen=True, slots=True)
class PlatformRead:
    """What a run brought from one platform.

    Attributes:
        platform: Its word.
        run: The run as it ended.
        account_count: Accounts that were read.
        compared_count: Sums of one account, day and metric that were compared.
        differences: Those that differ.
    """

    platform: str
    run: Run
    account_count: int
    compared_count: int
    differences: Sequence[Difference]


class Control:
    """What the simulation knows, over its control port.

    Args:
        address: host:port.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    async def get(self, path: str, **query: str) -> Any:  # noqa: ANN401 - JSON
        """Return the answer of a path."""
        url = f"http://{self._address}/{path}?{urlencode(query)}"

        def fetch() -> Any:  # noqa: ANN401 - JSON
            with urlopen(url, timeout=_CONTROL_SECONDS) as answer:
                return json.load(answer)

        return await asyncio.to_thread(fetch)


async def read_platforms(
    client: Client, control: Control, stages: Stages
) -> Sequence[PlatformRead]:
    """Connect, read and compare each platform.

    Args:
        client: Of an org for the simulation alone.
        control: Of the simulation.
        stages: Told how it goes.
    """
    today = date.fromisoformat((await control.get("clock"))["now"][:10])
    first = today - timedelta(days=_SETTLED_DAYS)
    accounts = [await _open_accounts(control, each) for each in PLATFORMS]
    runs = [
        await _start(client, control, each, ids, first)
        for each, ids in zip(PLATFORMS, accounts, strict=True)
    ]
    total = sum(run.progress.total_count for run in runs)
    with stages.stage("Read platforms", total=total, unit="slices") as advance:
        await asyncio.gather(*(_follow(client, runs, place, advance) for place in range(len(runs))))
    return [
        PlatformRead(
            each.platform, run, len(ids), *await _compared(client, control, each, ids, first)
        )
        for each, ids, run in zip(PLATFORMS, accounts, runs, strict=True)
    ]


async def _start(
    client: Client,
    control: Control,
    each: SimulatedPlatform,
    account_ids: Sequence[str],
    first: date,
) -> Run:
    """Connect a platform and start to read accounts of it."""
    credential = await control.get(f"credentials/{each.platform}")
    connection = each.platform.replace("_", "-")
    # In a directory of an earlier demo it is there already, with all its days.
    with suppress(AlreadyExistsError):
        await client.ingestion.create_connection(
            connection,
            display_name=f"Simulated {each.platform}",
            platform=each.platform,
            credential=credential,
        )
    return await client.ingestion.start_run(
        connection,
        start_date=first,
        end_date=first + timedelta(days=_DAYS - 1),
        account_ids=account_ids,
        force=True,
    )


async def _follow(client: Client, runs: list[Run], place: int, advance: Advance) -> None:
    """Keep a run as it is now in its place, until it has ended."""
    async for told in client.ingestion.watch_run(runs[place].name):
        runs[place] = told.run
        done = [run.progress for run in runs]
        advance(sum(it.succeeded_count + it.failed_count + it.skipped_count for it in done))


async def _compared(
    client: Client,
    control: Control,
    each: SimulatedPlatform,
    account_ids: Sequence[str],
    first: date,
) -> tuple[int, Sequence[Difference]]:
    """Return how many sums were compared, and those that differ."""
    stored = await _stored(client, each, first)
    known = {key: value async for key, value in _known(control, each, account_ids, first)}
    return len(known), [
        Difference(*key, stored.get(key, 0), known.get(key, 0))
        for key in sorted(known.keys() | stored.keys())
        if stored.get(key, 0) != known.get(key, 0)
    ]


def has_succeeded(read: PlatformRead) -> bool:
    """Tell whether all was read and nothing differs."""
    succeeded = read.run.state == RunState.RUN_STATE_SUCCEEDED
    return succeeded and read.compared_count > 0 and not read.differences


async def _open_accounts(control: Control, each: SimulatedPlatform) -> Sequence[str]:
    """Return the open accounts that the first credential of a platform may read."""
    grants = (await control.get("grants"))["grants"]
    allowed = next(it["account_ids"] for it in grants if it["platform"] == each.platform)
    accounts = [
        it
        for it in (await control.get("accounts"))["accounts"]
        if it["platform"] == each.platform and it["state"] == "ENABLED" and not it["is_manager"]
    ]
    # A manager stands for the accounts below it.
    return [
        it["account_id"]
        for it in accounts
        if it["account_id"] in allowed or set(it["managers"]) & set(allowed)
    ]


_Key = tuple[str, str, str]


async def _stored(client: Client, each: SimulatedPlatform, first: date) -> Mapping[_Key, int]:
    """Return what Memory sums up, by account, day and metric."""
    sums: dict[_Key, int] = {}
    async for row in client.memory.query_metrics(
        first,
        first + timedelta(days=_DAYS - 1),
        level=each.level,
        granularity="DAY",
        group_by=["account_id"],
        filter=f'platform = "{each.platform}" AND date_basis = {each.date_basis}',
    ):
        for metric in each.metrics:
            if row.metrics.HasField(metric):  # type: ignore[arg-type]
                key = (row.group["account_id"], row.period_start_date, metric)
                sums[key] = int(getattr(row.metrics, metric))
    return sums


async def _known(
    control: Control, each: SimulatedPlatform, accounts: Sequence[str], first: date
) -> AsyncIterator[tuple[_Key, int]]:
    """Yield what the simulation's truth sums up to, by account, day and metric."""
    for account_id in accounts:
        for number in range(_DAYS):
            day = (first + timedelta(days=number)).isoformat()
            rows = (
                await control.get(
                    "rows",
                    platform=each.platform,
                    account_id=account_id,
                    level=each.level,
                    date_basis=each.date_basis,
                    day=day,
                    states=_EVERY_STATE,
                )
            )["rows"]
            for metric in each.metrics:
                reported = [row["metrics"][metric] for row in rows if metric in row["metrics"]]
                if reported:
                    yield (account_id, day, metric), sum(reported)
