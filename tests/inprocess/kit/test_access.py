"""Who is let in: tokens, scopes, roles and orgs."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.inprocess.kit.echo_service import (
    NAME,
    UNGUARDED_NAME,
    Behaviours,
    Context,
    Echo,
    Item,
    Stub,
    authorization,
)
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos_kit.access import AccessError
from liftos_kit.auth import current_principal
from liftos_kit.testing.server import SECRET, RunningServer, running_server, settings_for_tests

CLAIMS: dict[str, Any] = {
    "iss": "liftos",
    "aud": "liftos",
    "sub": "somebody",
    "org": "acme",
    "roles": ["admin"],
    "scopes": ["echo"],
    "iat": int(time.time()),
    # Tokens are made when tests are collected, and a whole run may come to them much later.
    "exp": int(time.time()) + 6 * 3600,
}


def _token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode(
        {**CLAIMS, **claims}, secret if algorithm != "none" else "", algorithm=algorithm
    )


def _without(claim: str) -> str:
    kept = {key: value for key, value in CLAIMS.items() if key != claim}
    return jwt.encode(kept, SECRET, algorithm="HS256")


def _bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


async def _refusal(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "MISSING"),
        ((("authorization", "Basic abc"),), "INVALID"),
        (_bearer(""), "INVALID"),
        (_bearer("no.jwt"), "INVALID"),
        (_bearer("x" * 5_000), "INVALID"),
        (_bearer(_token()) + _bearer(_token()), "INVALID"),
        (_bearer(_token(secret="another secret, also of thirty-two bytes")), "INVALID"),
        (_bearer(_token(algorithm="none")), "INVALID"),
        (_bearer(_token(secret=SECRET * 2, algorithm="HS512")), "INVALID"),
        (_bearer(_token(aud="another")), "INVALID"),
        (_bearer(_token(iss="another")), "INVALID"),
        (_bearer(_token(exp=int(time.time()) - 60)), "EXPIRED"),
        (_bearer(_token(iat=int(time.time()) + 86_400)), "INVALID"),
        (_bearer(_token(exp="soon")), "INVALID"),
        (_bearer(_token(exp=True)), "INVALID"),
        (_bearer(_token(org="Not An Org")), "INVALID"),
        (_bearer(_token(org=7)), "INVALID"),
        (_bearer(_token(sub="")), "INVALID"),
        (_bearer(_token(roles="admin")), "INVALID"),
        (_bearer(_token(roles=["owner"])), "INVALID"),
        (_bearer(_token(scopes={"echo": 1})), "INVALID"),
        *((_bearer(_without(claim)), "INVALID") for claim in CLAIMS),
    ],
)
async def test_a_bad_token_is_refused(
    stub: Stub, metadata: tuple[tuple[str, str], ...], reason: str
) -> None:
    """Nobody gets in without a token that is whole, ours and in time; the reason says which."""
    refusal = await _refusal(stub.read(Echo(), metadata=metadata))
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert refusal.reason == f"ERROR_REASON_TOKEN_{reason}"


async def test_streams_are_guarded_as_well(stub: Stub) -> None:
    """All four kinds refuse a call without a token, before reading a message."""

    async def requests() -> AsyncIterator[Any]:
        yield Echo()

    for call in (stub.collect(requests()), _drained(stub.watch(Echo())), _drained(stub.chat())):
        assert (await _refusal(call)).reason == "ERROR_REASON_TOKEN_MISSING"


async def _drained(call: Any) -> None:
    async for _ in call:
        pass


async def test_a_token_within_the_leeway_is_taken(stub: Stub) -> None:
    """Clocks may differ by some seconds, in either direction."""
    now = int(time.time())
    for token in (_token(exp=now - 10), _token(iat=now + 10)):
        await stub.read(Echo(), metadata=_bearer(token))


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        ((), ()),
        (("reader",), ("read",)),
        (("writer",), ("read", "write")),
        (("admin",), ("read", "write", "administer")),
    ],
)
async def test_each_role_reaches_as_far_as_it_should(
    stub: Stub, roles: tuple[str, ...], allowed: tuple[str, ...]
) -> None:
    """Admin includes writer, and writer includes reader."""
    metadata = authorization(roles=roles)
    needed = {"read": "reader", "write": "writer", "administer": "admin"}
    for method, role in needed.items():
        call = getattr(stub, method)(Echo(), metadata=metadata)
        if method in allowed:
            await call
            continue
        refusal = await _refusal(call)
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert refusal.reason == "ERROR_REASON_ROLE_INSUFFICIENT"
        assert refusal.metadata == {"required_role": role}


async def test_a_token_for_another_service_is_refused(stub: Stub) -> None:
    """The scope is the word of the service's package."""
    refusal = await _refusal(stub.read(Echo(), metadata=authorization(scopes=("memory",))))
    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert refusal.reason == "ERROR_REASON_SCOPE_MISSING"
    assert refusal.metadata == {"required_scope": "echo"}


FOREIGN = "orgs/other/entries/1"


@pytest.mark.parametrize(
    ("request_message", "field"),
    [
        (Echo(name=FOREIGN), "name"),
        (Echo(parent="orgs/other"), "parent"),
        (Echo(parent="orgs/acme2"), "parent"),
        (Echo(parent="orgs/-"), "parent"),
        (Echo(connection=FOREIGN), "connection"),
        (Echo(labels=["orgs/acme/x", FOREIGN]), "labels"),
        (Echo(item=Item(name=FOREIGN)), "item.name"),
        (Echo(items=[Item(name="orgs/acme/x"), Item(name=FOREIGN)]), "items.name"),
    ],
)
async def test_names_of_another_org_are_refused(
    stub: Stub, request_message: Any, field: str
) -> None:
    """Whatever field of a request names another org, in calls and in streams."""

    async def requests() -> AsyncIterator[Any]:
        yield request_message

    metadata = authorization("acme")
    for call in (
        stub.read(request_message, metadata=metadata),
        stub.collect(requests(), metadata=metadata),
        _drained(stub.watch(request_message, metadata=metadata)),
        _drained(stub.chat(requests(), metadata=metadata)),
    ):
        refusal = await _refusal(call)
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert refusal.reason == "ERROR_REASON_ORG_MISMATCH"
        assert refusal.metadata == {"field": field}


async def test_names_of_the_own_org_and_free_text_pass(stub: Stub) -> None:
    """A search for a text that looks like a name is a search."""
    request = Echo(parent="orgs/acme", name="orgs/acme/entries/1", query=FOREIGN)
    assert request == await stub.read(request, metadata=authorization("acme"))


async def test_the_handler_knows_the_caller(stub: Stub, behaviours: Behaviours) -> None:
    """The principal is the token's, also for two callers at once on one connection."""

    async def unary(request: Any, context: Context) -> Any:
        caller = current_principal()
        return Echo(text=f"{caller.subject} of {caller.org}")

    behaviours.unary = unary
    for org in ("acme", "other"):
        answer = await stub.read(Echo(), metadata=authorization(org))
        assert answer.text == f"developer of {org}"


async def test_a_server_does_not_start_with_a_method_without_a_role() -> None:
    """A method that nobody guards is found at start, by name."""
    with pytest.raises(AccessError, match=r"UnguardedService\.Open has no role"):
        async with running_server(Behaviours().register, service_names=[NAME, UNGUARDED_NAME]):
            pass


async def test_an_undeclared_service_fails_closed(stub: Stub) -> None:
    """A method without a role that got past the start is not called."""
    refusal = await _refusal(stub.open(Echo(), metadata=authorization()))
    assert refusal.reason == "ERROR_REASON_INTERNAL"


def _jwks(keys: dict[str, rsa.RSAPrivateKey]) -> str:
    algorithm = jwt.get_algorithm_by_name("RS256")
    return json.dumps(
        {
            "keys": [
                {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
                for kid, key in keys.items()
            ]
        }
    )


async def test_tokens_signed_by_a_key_of_a_jwks_file(tmp_path: Path) -> None:
    """RS256 takes keys by their id, refuses others, and the public key as an HMAC secret."""
    keys = {
        kid: rsa.generate_private_key(public_exponent=65537, key_size=2048)
        for kid in ("one", "two")
    }
    document = tmp_path / "jwks.json"
    document.write_text(_jwks({"one": keys["one"]}))
    settings = settings_for_tests(
        jwt_algorithm="RS256",
        jwt_secret="",
        jwt_jwks_file=document,
        page_token_secret=SECRET,
        drain_seconds=1,
    )

    def signed(kid: str, signer: str) -> tuple[tuple[str, str], ...]:
        token = jwt.encode(CLAIMS, keys[signer], algorithm="RS256", headers={"kid": kid})
        return _bearer(token)

    async with (
        running_server(Behaviours().register, service_names=[NAME], settings=settings) as running,
        grpc.aio.insecure_channel(running.target) as channel,
    ):
        stub = Stub(channel)
        await stub.read(Echo(), metadata=signed("one", "one"))
        for metadata in (
            signed("two", "two"),
            signed("one", "two"),
            _bearer(_token()),
            _bearer(jwt.encode(CLAIMS, keys["one"], algorithm="RS256")),
        ):
            refusal = await _refusal(stub.read(Echo(), metadata=metadata))
            assert refusal.reason == "ERROR_REASON_TOKEN_INVALID"


async def test_health_and_reflection_are_open(running: RunningServer) -> None:
    """Probes and grpcurl have no token."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    async with grpc.aio.insecure_channel(running.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

        async def asked() -> AsyncIterator[Any]:
            yield reflection_pb2.ServerReflectionRequest(list_services="")

        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        names = [
            service.name
            async for response in reflection.ServerReflectionInfo(asked())
            for service in response.list_services_response.service
        ]
        assert {NAME, "grpc.health.v1.Health"} <= set(names)
