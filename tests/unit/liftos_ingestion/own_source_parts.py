"""What tests of sources that an org defines have in common."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import date
from typing import Any

from liftos_ingestion.domain.rate_limits import Limit, Observation
from liftos_ingestion.source_ports import (
    Credential,
    JsonObject,
    Page,
    PlatformAccount,
    PlatformSource,
    ReadRequest,
)
from liftos_kit.secrets.secret import Secret
from liftos_mapping.engine import TransformContext, evaluate

SHOP = PlatformAccount("shop", "Shop", "Europe/Berlin", "EUR")
ACCOUNTS = [{"account_id": "shop", "time_zone": "Europe/Berlin", "currency_code": "EUR"}]
FIRST = date(2026, 11, 1)
LAST = date(2026, 11, 2)


class OpenGate:
    """Lets every call through, and remembers what it was told."""

    org = "acme"
    run = ""

    def __init__(self) -> None:
        self.entered: list[Sequence[Limit]] = []
        self.observed: list[Observation] = []
        self.size_bytes = 0

    async def enter(self, limits: Sequence[Limit], *, is_poll: bool = False) -> None:
        """Let it through."""
        self.entered.append(limits)

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Remember it."""
        self.observed += observations

    def received(self, size_bytes: int) -> None:
        """Count it."""
        self.size_bytes += size_bytes

    def in_hand(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Have room for everything."""
        return nullcontext()


def asked(
    level: str = "OUTCOME",
    *,
    account: PlatformAccount = SHOP,
    start: date = FIRST,
    end: date = LAST,
) -> ReadRequest:
    """A request for days of one account."""
    return ReadRequest(account, level, "EVENT", "", start, end)


async def pages(
    source: PlatformSource, request: ReadRequest, gate: OpenGate | None = None, **credential: str
) -> list[Page]:
    """The pages of one reading."""
    fields = Credential({name: Secret(value) for name, value in credential.items()})
    async with source.open(fields, {}, gate or OpenGate()) as session:
        return [it async for it in session.read(request, None) if isinstance(it, Page)]


async def entries(
    source: PlatformSource, request: ReadRequest, **credential: str
) -> list[dict[str, Any]]:
    """What the rows of one reading become."""
    found: list[dict[str, Any]] = []
    for page in await pages(source, request, OpenGate(), **credential):
        result = evaluate(source.mapping, page.rows, context(page, request))
        assert result.errors == ()
        found += result.table.to_pylist()
    return found


def context(page: Page, request: ReadRequest) -> TransformContext:
    """What the pipeline adds to the context of a page."""
    return TransformContext(
        date=page.context.date,
        account_id=request.account.account_id,
        currency_code=request.account.currency_code,
        level=request.level,
        date_basis=request.date_basis,
    )


def rows_of(found: Sequence[Page]) -> list[JsonObject]:
    """All rows of the pages."""
    return [row for page in found for row in page.rows]
