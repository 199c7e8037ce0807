"""How a session with Klaviyo begins."""

import asyncio
import base64
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from tests.unit.liftos_ingestion.test_klaviyo import OpenGate, ScriptedKlaviyo

from liftos_ingestion.adapters.sources.klaviyo.source import KlaviyoSource
from liftos_ingestion.domain.failures import ErrorClass, ReadingError
from liftos_ingestion.source_ports import Credential
from liftos_kit.secrets.secret import Secret

APPLICATION = {"client_id": "app", "client_secret": "hush", "refresh_token": "refresh-1"}


@asynccontextmanager
async def klaviyo_of(
    *tokens: object, status: int = 200, refused: Collection[str] = ()
) -> AsyncIterator[tuple[KlaviyoSource, list[web.Request]]]:
    """Klaviyo that gives these tokens, the last one again and again, and knows one account.

    Args:
        tokens: Answers of the token endpoint.
        status: Of those answers.
        refused: Authorizations that open nothing, at the time of the call.
    """
    seen: list[web.Request] = []
    left = list(tokens)

    async def give(request: web.Request) -> web.Response:
        seen.append(request)
        await request.read()
        return web.json_response(left.pop(0) if len(left) > 1 else left[0], status=status)

    async def accounts(request: web.Request) -> web.Response:
        seen.append(request)
        if request.headers["Authorization"] in refused:
            return web.json_response({"errors": [{"code": "not_authenticated"}]}, status=401)
        return web.json_response(ScriptedKlaviyo().documents["accounts"])

    app = web.Application()
    app.router.add_post("/oauth/token", give)
    app.router.add_get("/api/accounts", accounts)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield (
            KlaviyoSource(
                f"http://127.0.0.1:{runner.addresses[0][1]}",
                revision="2026-10-15",
                timeout_seconds=5,
            ),
            seen,
        )
    finally:
        await runner.cleanup()


def credential_of(
    fields: Mapping[str, str], kept: list[Mapping[str, Secret]] | None = None
) -> Credential:
    """A credential that keeps what is renewed in `kept`."""

    async def keep(renewed: Mapping[str, Secret], _: datetime | None) -> bool:
        if kept is not None:
            kept.append(renewed)
        return True

    return Credential({name: Secret(value) for name, value in fields.items()}, keep)


async def test_a_refresh_token_that_is_replaced_is_kept() -> None:
    """The new one is kept with the other fields, and the access token opens the session."""
    kept: list[Mapping[str, Secret]] = []
    answer = {"access_token": "access-1", "refresh_token": "refresh-2", "scope": "accounts:read"}
    async with klaviyo_of(answer) as (source, seen):
        credential = credential_of(APPLICATION, kept)
        async with source.open(credential, {}, OpenGate()) as session:
            verified = await session.verify()
    assert verified.missing_scopes == ("campaigns:read", "flows:read", "metrics:read")
    assert [{name: it.reveal() for name, it in fields.items()} for fields in kept] == [
        APPLICATION | {"refresh_token": "refresh-2"}
    ]
    asked, read = seen
    basic = base64.b64encode(b"app:hush").decode()
    assert asked.headers["Authorization"] == f"Basic {basic}"
    assert parse_qs(await asked.text()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh-1"],
    }
    assert read.headers["Authorization"] == "Bearer access-1"
    assert read.headers["revision"] == "2026-10-15"
    assert read.headers["X-Klaviyo-Revision-Fall-Forward-Opt-Out"] == "1"


@pytest.mark.parametrize(
    ("token", "status", "error_class"),
    [
        ({"error": "invalid_grant"}, 400, ErrorClass.CREDENTIALS),
        ({"error": "invalid_client"}, 401, ErrorClass.CREDENTIALS),
        ({}, 400, ErrorClass.TRANSIENT),
        ({"error": "server_error"}, 503, ErrorClass.TRANSIENT),
        ({"error": "slow_down"}, 429, ErrorClass.RATE_LIMITED),
        ({}, 200, ErrorClass.TRANSIENT),
        ([], 200, ErrorClass.TRANSIENT),
        ({"access_token": 7}, 200, ErrorClass.TRANSIENT),
    ],
)
async def test_no_token_is_a_failure_with_a_class(
    token: object, status: int, error_class: ErrorClass
) -> None:
    """Only what Klaviyo itself says of a credential costs the connection."""
    async with klaviyo_of(token, status=status) as (source, _):
        with pytest.raises(ReadingError) as caught:
            async with source.open(credential_of(APPLICATION), {}, OpenGate()):
                pass
    assert caught.value.failure.error_class is error_class
    assert "hush" not in str(caught.value)
    assert "refresh-1" not in str(caught.value)


def authorizations(seen: list[web.Request]) -> list[str]:
    """What each call for an account was made with."""
    return [it.headers["Authorization"] for it in seen if it.path == "/api/accounts"]


async def test_a_session_outlasts_its_access_token() -> None:
    """One that has ended is replaced by another, for which the refresh token of now is used."""
    ended: set[str] = set()
    first = {"access_token": "access-1", "refresh_token": "refresh-2", "scope": "accounts:read"}
    second = {"access_token": "access-2", "scope": "accounts:read"}
    async with (
        klaviyo_of(first, second, refused=ended) as (source, seen),
        source.open(credential_of(APPLICATION), {}, OpenGate()) as session,
    ):
        await session.verify()
        ended.add("Bearer access-1")
        await session.verify()
        await session.verify()
    assert authorizations(seen) == [
        "Bearer access-1",
        "Bearer access-1",
        "Bearer access-2",
        "Bearer access-2",
    ]
    asked = [parse_qs(await it.text()) for it in seen if it.path == "/oauth/token"]
    assert [it["refresh_token"] for it in asked] == [["refresh-1"], ["refresh-2"]]


LASTING = {"scope": "accounts:read", "expires_in": 3600}


class GateOfRun(OpenGate):
    """Of a slice of a run."""

    run = "run"


async def test_slices_share_a_token_until_it_ends() -> None:
    """Those that open at the same time buy one; a renewed credential has it as well."""
    kept: list[Mapping[str, Secret]] = []
    answer = LASTING | {"access_token": "access-1", "refresh_token": "refresh-2"}
    async with klaviyo_of(answer) as (source, seen):

        async def read(fields: Mapping[str, str]) -> None:
            async with source.open(credential_of(fields, kept), {}, GateOfRun()) as session:
                await session.verify()

        await asyncio.gather(*(read(APPLICATION) for _ in range(3)))
        await read(APPLICATION | {"refresh_token": "refresh-2"})
        assert [it.path for it in seen].count("/oauth/token") == 1
        assert len(kept) == 1
        await read(APPLICATION | {"client_secret": "another"})
        assert [it.path for it in seen].count("/oauth/token") == 2, "of another credential"


async def test_a_shared_token_that_is_refused_is_bought_anew_once() -> None:
    """All sessions that had it take the one which the first of them bought."""
    ended: set[str] = set()
    first, second = (LASTING | {"access_token": f"access-{number}"} for number in (1, 2))
    async with (
        klaviyo_of(first, second, refused=ended) as (source, seen),
        source.open(credential_of(APPLICATION), {}, GateOfRun()) as one,
        source.open(credential_of(APPLICATION), {}, GateOfRun()) as other,
    ):
        ended.add("Bearer access-1")
        await asyncio.gather(one.verify(), other.verify())
        assert [it.path for it in seen].count("/oauth/token") == 2
    assert authorizations(seen).count("Bearer access-2") == 2


async def test_a_verification_buys_a_token_of_its_own() -> None:
    """What slices share says nothing of the refresh token of now."""
    answer = LASTING | {"access_token": "access-1"}
    async with klaviyo_of(answer) as (source, seen):
        for gate in (GateOfRun(), OpenGate(), GateOfRun()):
            async with source.open(credential_of(APPLICATION), {}, gate):
                pass
    assert [it.path for it in seen].count("/oauth/token") == 2


async def test_a_fresh_token_that_is_refused_costs_the_credential() -> None:
    """It is tried once."""
    token = {"access_token": "access-1", "scope": "accounts:read"}
    async with (
        klaviyo_of(token, refused=["Bearer access-1"]) as (source, seen),
        source.open(credential_of(APPLICATION), {}, OpenGate()) as session,
    ):
        with pytest.raises(ReadingError) as caught:
            await session.verify()
    assert caught.value.failure.error_class is ErrorClass.CREDENTIALS
    assert len(authorizations(seen)) == 2


async def test_a_key_that_is_refused_is_not_tried_again() -> None:
    """There is no other one."""
    async with (
        klaviyo_of({}, refused=["Klaviyo-API-Key pk_1"]) as (source, seen),
        source.open(credential_of({"api_key": "pk_1"}), {}, OpenGate()) as session,
    ):
        with pytest.raises(ReadingError) as caught:
            await session.verify()
    assert caught.value.failure.error_class is ErrorClass.CREDENTIALS
    assert len(seen) == 1
