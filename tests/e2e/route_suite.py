"""Routes of what people are told, as each service serves them.

A service's test module inherits the suite, and has the fixtures `clients`, `pool` and `org`.
"""

from types import ModuleType
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.e2e.ingestion.webhook import PATH_SECRET, webhook
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos_kit import postgres


class RouteSuite:
    """Tests of the routes of one topic.

    Attributes:
        noun: What is told.
        messages: Module of the requests and responses.
        route_type: Of its routes.
        unknown_platform: How one is refused: reason, and violated fields with their rules.
    """

    noun: str
    messages: ModuleType
    route_type: Any
    unknown_platform: tuple[str, tuple[tuple[str, str], ...]]

    def request(self, verb: str, **fields: Any) -> Any:
        """Return a request; `route` is one."""
        if "route" in fields:
            fields[f"{self.noun}_route"] = fields.pop("route")
        return getattr(self.messages, f"{self._method(verb)}Request")(**fields)

    async def call(self, client: Any, verb: str, **fields: Any) -> Any:
        """Call a method and return its answer."""
        return await getattr(client, self._method(verb))(self.request(verb, **fields))

    async def route(self, client: Any, verb: str, **fields: Any) -> Any:
        """Call a method and return the route in its answer."""
        return getattr(await self.call(client, verb, **fields), f"{self.noun}_route")

    async def refusal(self, client: Any, verb: str, **fields: Any) -> Refusal:
        """Call a method that is refused."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(client, verb, **fields)
        return refusal_of(caught.value)

    def named(self, org: str, **fields: Any) -> Any:
        """Return a route of the org."""
        fields = {"display_name": "People", **fields}
        return self.route_type(name=f"orgs/{org}/{self.noun}Routes/people", **fields)

    def _method(self, verb: str) -> str:
        return f"{verb}{self.noun.title()}Route{'s' if verb == 'List' else ''}"

    async def test_a_route_keeps_its_target_to_itself(
        self, clients: Any, pool: asyncpg.Pool, org: str
    ) -> None:
        """No answer and no column has it; an update keeps it, changes it, or is refused."""
        client = clients(org)
        async with webhook() as target:
            given = self.named(org, target_url=target.url, platforms=["meta"])
            create = {"route": given, "request_id": str(uuid4())}
            made = await self.route(client, "Create", **create)
            assert (made.target_kind, made.target_url, made.etag) == ("json", "", "1")
            assert await self.route(client, "Create", **create) == made
            create["request_id"] = str(uuid4())
            refused = await self.refusal(client, "Create", **create)
            assert refused.reason == "ERROR_REASON_RESOURCE_ALREADY_EXISTS"

            change = {"route": self.named(org, display_name="Night", etag="1")}
            repeated = {**change, "request_id": str(uuid4())}
            changed = await self.route(client, "Update", **repeated)
            assert (changed.display_name, [*changed.platforms], changed.etag) == ("Night", [], "2")
            assert await self.route(client, "Update", **repeated) == changed
            refused = await self.refusal(client, "Update", **change)
            assert refused.reason == "ERROR_REASON_ETAG_MISMATCH"

            test = {"name": made.name, "request_id": str(uuid4())}
            for _ in range(2):
                assert (await self.call(client, "Test", **test)).sent
            assert len(target.messages) == 1, "the same request is done once"
            target.status = "401 Unauthorized"
            answer = await self.call(client, "Test", name=made.name, request_id=str(uuid4()))
            assert not answer.sent
            assert "HTTP status 401" in answer.error
            assert PATH_SECRET not in answer.error

        async with postgres.transaction(pool, org=org) as connection:
            rows = await connection.fetch(
                f"select r::text from {self.noun}_routes r union all"
                " select q::text from request_ids q"
            )
        assert rows
        assert not [row for row in rows if PATH_SECRET in row[0]]
        listed = await self.call(client, "List", parent=f"orgs/{org}")
        (found,) = getattr(listed, f"{self.noun}_routes")
        assert found == await self.route(client, "Get", name=made.name)
        assert "401" in found.send_error

        delete = {"name": made.name, "etag": "1", "request_id": str(uuid4())}
        refused = await self.refusal(client, "Delete", **delete)
        assert refused.reason == "ERROR_REASON_ETAG_MISMATCH"
        del delete["etag"]
        for _ in range(2):
            await self.call(client, "Delete", **delete)
        refused = await self.refusal(client, "Get", name=made.name)
        assert refused.reason == "ERROR_REASON_RESOURCE_NOT_FOUND"

    @pytest.mark.parametrize(
        ("target_url", "rule"),
        [
            ("", "required"),
            ("nonsense://x", "SCHEME_UNKNOWN"),
            ("syslog://", "SCHEME_REFUSED"),
        ],
    )
    async def test_bad_targets(self, clients: Any, org: str, target_url: str, rule: str) -> None:
        """What nothing can be sent to is refused, and nothing is stored."""
        client = clients(org)
        given = self.named(org, target_url=target_url)
        refused = await self.refusal(client, "Create", route=given, request_id=str(uuid4()))
        assert refused.violations == ((f"{self.noun}_route.target_url", rule),)
        listed = await self.call(client, "List", parent=f"orgs/{org}")
        assert not getattr(listed, f"{self.noun}_routes")

    async def test_a_platform_has_to_be_known(self, clients: Any, org: str) -> None:
        """Where it is named by a new route or in what an update changes, and nowhere else."""
        client = clients(org)
        wrong = self.named(org, platforms=["mteta"])
        async with webhook() as target:
            right = self.named(org, target_url=target.url, platforms=["klaviyo", "meta"])
            wrong.target_url = target.url
            refused = await self.refusal(client, "Create", route=wrong, request_id=str(uuid4()))
            assert (refused.reason, refused.violations) == self.unknown_platform
            await self.call(client, "Create", route=right, request_id=str(uuid4()))
        wrong.target_url = ""
        refused = await self.refusal(client, "Update", route=wrong)
        assert (refused.reason, refused.violations) == self.unknown_platform
        mask = FieldMask(paths=["disabled"])
        kept = await self.route(client, "Update", route=wrong, update_mask=mask)
        assert [*kept.platforms] == ["klaviyo", "meta"]
        mask = FieldMask(paths=["send_time", "disabled"])
        refused = await self.refusal(client, "Update", route=wrong, update_mask=mask)
        assert refused.violations == (("update_mask", "field_mask"),)
