"""Routes on the wire: convert, call, convert.

The messages of routes are called alike in every service and have the same fields, but for the
types of `kinds` and `minimum_severity`, which are numbers all the same.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any, Final, TypeAlias, TypeVar

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from liftos_kit.auth import require_org
from liftos_kit.channel import require_private_channel
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.paging import PageTokens
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.notify.route_store import RouteSpec, StoredRoute
from liftos_kit.notify.routes import Routes
from liftos_kit.notify.targets import TARGET_URL
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_kit.secrets.secret import Secret
from liftos_kit.structs import revision_of, timestamp

_SPEC_FIELDS: Final = ("display_name", "kinds", "minimum_severity", "platforms", "disabled")
_CHANGEABLE: Final = (*_SPEC_FIELDS, TARGET_URL)

Context: TypeAlias = ServicerContext[Any, Any]
Result = TypeVar("Result")


def route_servicer(
    messages: ModuleType, routes: Routes, *, page_tokens: PageTokens, least_severity: int = 0
) -> object:
    """Return the part of a servicer that has the methods of routes, such as `CreateAlertRoute`.

    Args:
        messages: Module of the requests and responses.
        routes: Makes routes.
        page_tokens: Of lists; their key also signs what is kept of requests with secrets.
        least_severity: What an unset minimum severity means.
    """
    methods = _RouteMethods(messages, routes, page_tokens, least_severity)
    resource = routes.topic.resource
    return SimpleNamespace(
        **{
            f"Create{resource}": methods.create,
            f"Get{resource}": methods.get,
            f"List{resource}s": methods.list_page,
            f"Update{resource}": methods.update,
            f"Delete{resource}": methods.delete,
            f"Test{resource}": methods.test,
        }
    )


class _RouteMethods:
    """Makes, changes and tries the routes of one topic."""

    def __init__(
        self, messages: ModuleType, routes: Routes, page_tokens: PageTokens, least_severity: int
    ) -> None:
        self._messages = messages
        self._routes = routes
        self._topic = routes.topic
        self._page_tokens = page_tokens
        self._least_severity = least_severity
        self._route_type: type[Message] = type(getattr(self._response("Get")(), self._topic.field))

    async def create(self, request: Any, context: Context) -> Message:  # noqa: ANN401
        """Store a route."""
        org, route, message = self._given(request, context)
        answer = self._answer("Create", org)
        stored = await self._routes.create(
            org,
            route,
            self._spec(message),
            _target(message, _CHANGEABLE),
            repeatable=_required(self._signed("Create", request, answer)),
        )
        return answer_to(stored, answer, self._response("Create"))

    async def get(self, request: Any, _: Context) -> Message:  # noqa: ANN401
        """Read a route."""
        org, route = self._named(request.name)
        return self._answer("Get", org)(await self._routes.get(org, route))

    async def list_page(self, request: Any, _: Context) -> Message:  # noqa: ANN401
        """List routes."""
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        page, after = await self._routes.list_page(
            org, after=asked.text_cursor or "", limit=asked.limit
        )
        return self._message_type(f"List{self._topic.resource}sResponse")(
            **{f"{self._topic.field}s": [self._route(org, stored) for stored in page]},
            next_page_token=asked.next_token(after),
        )

    async def update(self, request: Any, context: Context) -> Message:  # noqa: ANN401
        """Change a route."""
        org, route, message = self._given(request, context)
        mask = request.update_mask.paths
        answer = self._answer("Update", org)
        stored = await self._routes.update(
            org,
            route,
            self._spec(message),
            _target(message, mask or _CHANGEABLE),
            # Named in the mask, and not given: it is kept, and encrypted again.
            reseal=TARGET_URL in mask and not message.target_url,
            fields=_spec_fields(mask),
            revision=revision_of(message.etag, field=f"{self._topic.field}.etag"),
            repeatable=self._signed("Update", request, answer),
        )
        return answer_to(stored, answer, self._response("Update"))

    async def delete(self, request: Any, _: Context) -> Message:  # noqa: ANN401
        """Remove a route."""
        org, route = self._named(request.name)

        def answer(_: None) -> Message:
            return self._response("Delete")()

        await self._routes.delete(
            org,
            route,
            revision=revision_of(request.etag, field="etag"),
            repeatable=_required(repeatable(self._method("Delete"), request, answer)),
        )
        return answer(None)

    async def test(self, request: Any, _: Context) -> Message:  # noqa: ANN401
        """Try a route."""
        org, route = self._named(request.name)

        def answer(error: str) -> Message:
            return self._response("Test")(sent=not error, error=error)

        error = await self._routes.test(
            org, route, repeatable=_required(repeatable(self._method("Test"), request, answer))
        )
        return answer_to(error, answer, self._response("Test"))

    def _given(self, request: Any, context: Context) -> tuple[str, str, Any]:  # noqa: ANN401
        """Return the org, the id and the message of the route that a request holds."""
        message = getattr(request, self._topic.field)
        if message.target_url:
            require_private_channel(context, field=f"{self._topic.field}.{TARGET_URL}")
        return *self._named(message.name, field=f"{self._topic.field}.name"), message

    def _named(self, name: str, *, field: str = "name") -> tuple[str, str]:
        return require_org(name, field=field), self._topic.route_id(name, field=field)

    def _spec(self, message: Any) -> RouteSpec:  # noqa: ANN401
        return RouteSpec(
            display_name=message.display_name,
            kinds=tuple(message.kinds),
            minimum_severity=message.minimum_severity or self._least_severity,
            platforms=tuple(message.platforms),
            disabled=message.disabled,
        )

    def _route(self, org: str, stored: StoredRoute) -> Message:
        """Return the message of a route, without its target."""
        spec = stored.spec
        return self._route_type(
            name=self._topic.route_name(org, stored.route),
            display_name=spec.display_name,
            kinds=spec.kinds,
            minimum_severity=spec.minimum_severity,
            platforms=spec.platforms,
            disabled=spec.disabled,
            target_kind=stored.target.kind,
            send_time=timestamp(stored.send_time),
            send_error=stored.send_error,
            create_time=timestamp(stored.create_time),
            update_time=timestamp(stored.update_time),
            etag=str(stored.revision),
            target_key_id=stored.target.key_id,
        )

    def _answer(self, verb: str, org: str) -> Callable[[StoredRoute], Message]:
        response = self._response(verb)
        return lambda stored: response(**{self._topic.field: self._route(org, stored)})

    def _method(self, verb: str) -> str:
        return f"{verb}{self._topic.resource}"

    def _response(self, verb: str) -> type[Message]:
        return self._message_type(f"{self._method(verb)}Response")

    def _message_type(self, name: str) -> type[Message]:
        found: type[Message] = getattr(self._messages, name)
        return found

    def _signed(
        self, verb: str, request: Message, answer: Callable[[Result], Message]
    ) -> Repeatable[Result] | None:
        """Return the identity of a request, from which no target in it can be guessed."""
        found = repeatable(self._method(verb), request, answer)
        if found is None:
            return None
        digest = hmac.digest(self._page_tokens.key, b"request " + found.payload_digest, "sha256")
        return replace(found, payload_digest=digest)


def _target(message: Any, fields: Sequence[str]) -> Secret | None:  # noqa: ANN401
    """Return the target that a message gives, where it is among the fields."""
    given = message.target_url if TARGET_URL in fields else ""
    return Secret(given) if given else None


def _spec_fields(mask_paths: Sequence[str]) -> Sequence[str]:
    """Return the fields of the specification that a mask means; all where it names none.

    Raises:
        InvalidFieldsError: It names others than can be changed.
    """
    wrong = [path for path in mask_paths if path not in _CHANGEABLE]
    if wrong:
        raise InvalidFieldsError(
            FieldViolation(
                "update_mask",
                f"{path} cannot be changed; the fields are {', '.join(_CHANGEABLE)}",
                "field_mask",
            )
            for path in wrong
        )
    return [field for field in _SPEC_FIELDS if not mask_paths or field in mask_paths]


def _required(found: Repeatable[Result] | None) -> Repeatable[Result]:
    assert found is not None, "required by the contract"
    return found
