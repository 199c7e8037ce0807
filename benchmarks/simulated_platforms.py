"""A stack that reads simulated platforms, and what the simulation tells of itself."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import asyncpg
import psutil

from liftos_client import Client, connect
from liftos_kit.auth import issue_token
from liftos_local import stack
from liftos_local.plan import PLATFORMS, SERVICES
from liftos_local.ports import PortPlan

ORG: Final = "bench"
SETTLED_DAYS: Final = 130
"""Days of that age no platform restates any more: they are the same however often they are read."""

_EVERY_STATE: Final = "ACTIVE,PAUSED,ARCHIVED,DELETED"
_CONTROL_SECONDS: Final = 60.0
_SERVICES: Final = ("memory", "ingestion", "ingestion-worker", "platforms")
_CREDENTIALS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "meta": ("access_token", {}),
    "google_ads": ("refresh_token", {"client_id": "1-bench", "client_secret": "any will do"}),
    "klaviyo": ("api_key", {}),
}


@dataclass(frozen=True, slots=True)
class WorldSize:
    """How many objects each advertising account has, below one another.

    Attributes:
        campaigns: Of Google's, every fourth has no ads.
    """

    campaigns: int = 4
    ad_groups: int = 2
    ads: int = 3


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Seconds of processor time, by process."""

    seconds: Mapping[str, float]

    def since(self, earlier: "ProcessorTime") -> "ProcessorTime":
        """Return what was used since an earlier reading."""
        return ProcessorTime(
            {name: it - earlier.seconds[name] for name, it in self.seconds.items()}
        )


class Simulated:
    """Memory, Ingestion with one worker, their stores and the simulation, all running."""

    def __init__(self, running: stack.Stack, first_day: date) -> None:
        self._running = running
        self.first_day = first_day
        self.environment = running.environment
        self.addresses = running.addresses

    def client(self) -> Client:
        """Return a client of both services."""
        secret = self.environment["LIFTOS_JWT_SECRET"].encode()
        return connect(
            self.addresses["memory"],
            token=issue_token(secret=secret, org=ORG, lifetime_seconds=6 * 3600),
            ingestion_target=self.addresses["ingestion"],
        )

    async def owner(self, schema: str) -> asyncpg.Connection:
        """Connect as the owner of the tables, past row-level security."""
        return await asyncpg.connect(
            self.environment["LIFTOS_POSTGRES_OWNER_URL"], server_settings={"search_path": schema}
        )

    def process(self, name: str) -> psutil.Process:
        """Return a process of the stack."""
        return psutil.Process(self._running.status().process(name).pid)

    def processor_time(self) -> ProcessorTime:
        """Return what each process has used so far; Postgres with all its children."""
        return ProcessorTime(
            {name: _seconds_of(self.process(name)) for name in (*_SERVICES, "postgres")}
        )

    def ask(self, path: str, **query: str) -> Any:  # noqa: ANN401 - JSON
        """Return what the simulation's control port answers."""
        return self._control(path, query, None)

    def tell(self, path: str, **body: object) -> Any:  # noqa: ANN401 - JSON
        """Change something in the simulation."""
        return self._control(path, {}, json.dumps(body).encode())

    def credential(self, platform: str) -> Mapping[str, str]:
        """Return a credential that a platform takes."""
        grants = self.ask("grants")["grants"]
        field, others = _CREDENTIALS[platform]
        return {field: next(it["token"] for it in grants if it["platform"] == platform), **others}

    def open_accounts(self, platform: str) -> list[str]:
        """Return the accounts that this credential opens and that have numbers of their own."""
        grants = self.ask("grants")["grants"]
        granted = set(next(it["account_ids"] for it in grants if it["platform"] == platform))
        return [
            it["account_id"]
            for it in self.ask("accounts")["accounts"]
            if it["platform"] == platform
            and it["state"] == "ENABLED"
            and not it["is_manager"]
            and granted & {it["account_id"], *it["managers"]}
        ]

    def forget_calls(self) -> None:
        """Begin a new journal."""
        self._control("journal", {}, None, method="DELETE")

    def calls(self, platform: str) -> list[dict[str, Any]]:
        """Return the calls since then that fetched something: no polls, no sign-ins."""
        calls = self.ask("journal", platform=platform)["calls"]
        return [it for it in calls if it["endpoint"] != "token"]

    def row_count(self, platform: str, account_id: str, level: str, days: int) -> int:
        """Return how many rows a platform has of days from the first one on."""
        return sum(
            len(
                self.ask(
                    "rows",
                    platform=platform,
                    account_id=account_id,
                    level=level,
                    day=f"{self.first_day + timedelta(days=number)}",
                    states=_EVERY_STATE,
                )["rows"]
            )
            for number in range(days)
        )

    async def connect_platform(self, client: Client, platform: str) -> str:
        """Make a connection to a platform; return its name."""
        settings = {"access_level": "basic"} if platform == "google_ads" else None
        connection = await client.ingestion.create_connection(
            platform.replace("_", "-"),
            display_name=platform,
            platform=platform,
            settings=settings,
            credential=self.credential(platform),
        )
        return connection.name

    def _control(
        self, path: str, query: Mapping[str, str], body: bytes | None, *, method: str | None = None
    ) -> Any:  # noqa: ANN401 - JSON
        url = f"http://{self.addresses['platforms-control']}/{path}?{urlencode(query)}"
        request = Request(url, body, {"content-type": "application/json"}, method=method)
        with urlopen(request, timeout=_CONTROL_SECONDS) as answer:
            return json.load(answer)


@contextmanager
def simulated_platforms(size: WorldSize, *, running_clock: bool) -> Iterator[Simulated]:
    """Run everything with durable stores and one trace in a hundred sampled.

    Args:
        size: Of the simulated accounts.
        running_clock: Whether the simulation's time goes on. While it stands still, an answer that
            was rendered once is kept.
    """
    now = datetime.now(UTC)
    first_day = now.date() - timedelta(days=SETTLED_DAYS)
    ports = PLATFORMS.arguments[2:]
    catalogue = {
        **SERVICES,
        "platforms": replace(
            PLATFORMS,
            arguments=(
                "serve",
                *("--now", now.isoformat()),
                *(("--running-clock",) if running_clock else ()),
                *("--first-day", f"{first_day - timedelta(days=30)}"),
                *("--last-day", f"{now.date() + timedelta(days=60)}"),
                *("--campaigns", f"{size.campaigns}"),
                *("--ad-groups", f"{size.ad_groups}"),
                *("--ads", f"{size.ads}"),
                *ports,
            ),
        ),
    }
    with (
        TemporaryDirectory(prefix="liftos-bench-") as folder,
        stack.start(
            Path(folder),
            ports=PortPlan.automatic(),
            services=_SERVICES,
            catalogue=catalogue,
            settings={"LIFTOS_TRACE_SAMPLE_RATIO": "0.01", "LIFTOS_LOG_LEVEL": "WARNING"},
        ) as running,
    ):
        yield Simulated(running, first_day)


def _seconds_of(process: psutil.Process) -> float:
    """Return user and system seconds of a process and of its children, ended ones too."""
    times = process.cpu_times()
    ended = times.children_user + times.children_system
    alive = sum(sum(child.cpu_times()[:2]) for child in process.children())
    return float(times.user + times.system + ended + alive)
