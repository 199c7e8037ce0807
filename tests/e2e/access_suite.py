"""Who is let in, and what each org can see: over every method that a server exposes.

A service's test module inherits the suite, and has the fixtures `channel`, `rpcs`, `admin` and
`org`.
"""

import time
from collections.abc import Iterator, Mapping
from functools import reduce
from types import MappingProxyType
from typing import Any, Final

import asyncpg
import grpc
import jwt
from google.protobuf.message import Message
from tests.e2e.memory.contract_calls import (
    Rpc,
    names_in,
    outcome,
    valid_request,
)

from liftos.common.v1 import access_pb2
from liftos_kit.access import ROLES
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, authorization

Metadata = tuple[tuple[str, str], ...]

_ALL_SCOPES: Final = ("memory", "ingestion", "migration", "causal")
_UNAUTHENTICATED: Final = grpc.StatusCode.UNAUTHENTICATED
_DENIED: Final = grpc.StatusCode.PERMISSION_DENIED


class AccessSuite:
    """Tests of every method of one server.

    Attributes:
        schema: Where its tables are.
        org_column: Column of its tables that says whose a row is.
        kinds: Ways of streaming that its methods have, as (client, server).
        needs: What requests need beyond what their single rules say: by method, field by its path.
    """

    schema: str
    org_column: str = "org"
    kinds: frozenset[tuple[bool, bool]]
    needs: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

    def request(self, rpc: Rpc, org: str) -> Any:
        """Return a request that is good."""
        message: Any = valid_request(rpc, org)
        for path, value in self.needs.get(rpc.method.name, {}).items():
            *way, name = path.split(".")
            holder = reduce(getattr, way, message)
            if isinstance(value, Message):
                getattr(holder, name).CopyFrom(value)
            elif isinstance(value, list):
                repeated = getattr(holder, name)
                del repeated[:]
                repeated.extend(
                    each.format(org=org) if isinstance(each, str) else each for each in value
                )
            else:
                setattr(holder, name, value)
        return message

    async def test_a_member_with_the_role_is_let_in(
        self, channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], org: str
    ) -> None:
        """The requests of these tests are good: the least role of the method gets through."""
        kinds = set()
        for rpc in rpcs:
            kinds.add((rpc.client_streaming, rpc.server_streaming))
            scope = rpc.method.containing_service.file.package.split(".")[1]
            member = authorization(org, roles=(_required_role(rpc),), scopes=(scope,))
            refusal = await outcome(channel, rpc, self.request(rpc, org), member)
            assert refusal is None or refusal.code in (
                grpc.StatusCode.NOT_FOUND,
                grpc.StatusCode.UNIMPLEMENTED,
                # No worker has made a search index yet.
                grpc.StatusCode.UNAVAILABLE,
                # Nothing has been written yet.
                grpc.StatusCode.FAILED_PRECONDITION,
            ), (rpc.path, refusal)
        assert kinds == self.kinds

    async def test_strangers_are_not_let_in(
        self, channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], org: str
    ) -> None:
        """No method answers a call without a token that is signed, in time, and meant for it."""
        for what, (metadata, reason) in _strangers(org).items():
            for rpc in rpcs:
                refusal = await outcome(channel, rpc, self.request(rpc, org), metadata)
                assert refusal is not None, (rpc.path, what)
                assert (refusal.code, refusal.reason) == (_UNAUTHENTICATED, reason), (
                    rpc.path,
                    what,
                )

    async def test_a_lower_role_does_not_do(
        self, channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], org: str
    ) -> None:
        """Every method asks for the role of its option, and the one below is refused."""
        for rpc in rpcs:
            required = _required_role(rpc)
            lower = ROLES[: ROLES.index(required)]
            metadata = authorization(org, roles=lower)
            refusal = await outcome(channel, rpc, self.request(rpc, org), metadata)
            assert refusal is not None, rpc.path
            assert (refusal.code, refusal.reason) == (_DENIED, "ERROR_REASON_ROLE_INSUFFICIENT")
            assert refusal.metadata == {"required_role": required}

    async def test_a_token_of_another_service_does_not_do(
        self, channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], org: str
    ) -> None:
        """Every method asks for the scope of its service."""
        for rpc in rpcs:
            scope = rpc.method.containing_service.file.package.split(".")[1]
            metadata = authorization(org, scopes=[each for each in _ALL_SCOPES if each != scope])
            refusal = await outcome(channel, rpc, self.request(rpc, org), metadata)
            assert refusal is not None, rpc.path
            assert (refusal.code, refusal.reason) == (_DENIED, "ERROR_REASON_SCOPE_MISSING")
            assert refusal.metadata == {"required_scope": scope}

    async def test_names_of_another_org_are_refused(
        self, channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], org: str
    ) -> None:
        """Each name in each request, one at a time: of another org, or one that begins alike."""
        tried = 0
        for rpc in rpcs:
            places = list(names_in(self.request(rpc, org)))
            assert places, f"{rpc.path} names its org"
            for where, change in places:
                for other in (f"{org}-b", org[:-1], "b"):
                    request = self.request(rpc, org)
                    name = dict(_texts_at(request, where))[where]
                    change(request, name.replace(f"orgs/{org}", f"orgs/{other}", 1))
                    refusal = await outcome(channel, rpc, request, authorization(org))
                    assert refusal is not None, (rpc.path, where)
                    assert refusal.code is _DENIED, (rpc.path, where)
                    assert refusal.reason == "ERROR_REASON_ORG_MISMATCH"
                    tried += 1
        assert tried >= 3 * len(rpcs)

    async def test_whoever_is_refused_has_written_nothing(
        self, channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], admin: asyncpg.Connection, org: str
    ) -> None:
        """Neither the own org nor the other one has a row anywhere after all those refusals."""
        refused = [metadata for metadata, _ in _strangers(org).values()]
        refused += [authorization(org, roles=()), authorization(f"{org}-b")]
        for metadata in refused:
            for rpc in rpcs:
                assert await outcome(channel, rpc, self.request(rpc, org), metadata) is not None
        tables = await _tables_with_org(admin, self.schema, self.org_column)
        assert tables
        for table in tables:
            count = await admin.fetchval(
                f"select count(*) from {self.schema}.{table} where {self.org_column} = any($1)",
                [org, f"{org}-b"],
            )
            assert count == 0, table


def _bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


def _token(org: str, **changed: Any) -> str:
    return issue_token(**{"secret": SECRET.encode(), "org": org, **changed})


def _unsigned(org: str) -> str:
    claims = jwt.decode(_token(org), options={"verify_signature": False})
    return jwt.encode(claims, key="", algorithm="none")


def _strangers(org: str) -> Mapping[str, tuple[Metadata, str]]:
    """Return metadata that lets nobody in, with the reason, by what is wrong with it."""
    invalid = "ERROR_REASON_TOKEN_INVALID"
    later = time.time() + 3_600
    return {
        "no token": ((), "ERROR_REASON_TOKEN_MISSING"),
        "expired": (_bearer(_token(org, lifetime_seconds=-3_600)), "ERROR_REASON_TOKEN_EXPIRED"),
        "not valid yet": (_bearer(_token(org, now_seconds=later)), invalid),
        "another secret": (_bearer(_token(org, secret=b"not the secret" * 4)), invalid),
        "not signed": (_bearer(_unsigned(org)), invalid),
        "another audience": (_bearer(_token(org, audience="elsewhere")), invalid),
        "another issuer": (_bearer(_token(org, issuer="elsewhere")), invalid),
        "no JWT": (_bearer("nonsense"), invalid),
        "another scheme": ((("authorization", "Basic bWU6bWU="),), invalid),
        "two tokens": (_bearer(_token(org)) * 2, invalid),
    }


def _required_role(rpc: Rpc) -> str:
    return ROLES[rpc.method.GetOptions().Extensions[access_pb2.required_role] - 1]


def _texts_at(message: Message, where: str) -> Iterator[tuple[str, str]]:
    value: Any = message
    for step in where.split("."):
        name, _, index = step.rstrip("]").partition("[")
        value = getattr(value, name)[int(index)] if index else getattr(value, name)
    yield where, value


async def _tables_with_org(admin: asyncpg.Connection, schema: str, column: str) -> list[str]:
    rows = await admin.fetch(
        "select table_name from information_schema.columns join information_schema.tables"
        " using (table_schema, table_name)"
        " where table_schema = $1 and column_name = $2 and table_type = 'BASE TABLE' order by 1",
        schema,
        column,
    )
    return [row["table_name"] for row in rows]
