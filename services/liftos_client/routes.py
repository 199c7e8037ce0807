"""Where people are told of alerts, insights and the like: calls that are alike in all services."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from liftos_client.arguments import chosen_request_id, field_mask, text_list
from liftos_client.pages import Pages
from liftos_client.service_calls import ServiceCalls

_Route = TypeVar("_Route", bound=Message)
_Kind = TypeVar("_Kind")
_Severity = TypeVar("_Severity")


class Trial(Protocol):
    """What came of a message that says it is a test."""

    @property
    def sent(self) -> bool:
        """True where the target took it."""
        ...

    @property
    def error(self) -> str:
        """Why it did not; empty where it did."""
        ...


@dataclass(frozen=True, slots=True)
class RouteTopic(Generic[_Route, _Kind, _Severity]):
    """What the routes of one noun have of their own.

    Attributes:
        noun: What is told, in lower-case letters, such as "alert".
        messages: Module of the requests.
        route: Type of the routes.
        kind: Returns the number of a kind.
        severity: Returns the number of a severity.
    """

    noun: str
    messages: ModuleType
    route: type[_Route]
    kind: Callable[[_Kind], int]
    severity: Callable[[_Severity], float]

    @property
    def field(self) -> str:
        """Name of a route's field."""
        return f"{self.noun}_route"

    @property
    def resource(self) -> str:
        """Name of a route's message, and what is in the middle of its methods' names."""
        return f"{self.noun.title()}Route"


class RouteMethods(ServiceCalls[Any], Generic[_Route, _Kind, _Severity]):
    """Methods about routes of one noun; a subclass names its topic, and them by its noun.

    The target of a route goes in and never comes out.
    """

    _route_topic: RouteTopic[_Route, _Kind, _Severity]

    async def _create_route(
        self,
        route_id: str,
        *,
        display_name: str,
        target_url: str,
        kinds: Iterable[_Kind] = (),
        minimum_severity: _Severity | None = None,
        platforms: Sequence[str] = (),
        disabled: bool = False,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> _Route:
        """Say where people are told.

        Args:
            route_id: Lower case letters, digits and hyphens.
            display_name: Shown to people.
            target_url: Where to send; it holds secrets.
            kinds: Only these, such as "RUN_FAILED" or "ANOMALY"; none means all.
            minimum_severity: Only what is at least as severe: "WARNING" for alerts, 0 to 100 for
                insights; None means all.
            platforms: Only these; none means all.
            disabled: True sends nothing.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            AlreadyExistsError: The id is taken.
            ChannelInsecureError: The target was sent over an open channel.
        """
        answer = await self._call_route(
            "Create",
            timeout_seconds,
            request_id=chosen_request_id(request_id),
            **{
                self._route_topic.field: self._route_topic.route(
                    name=self._route_name(route_id),
                    display_name=display_name,
                    target_url=target_url,
                    kinds=[self._route_topic.kind(kind) for kind in kinds],
                    minimum_severity=(
                        None
                        if minimum_severity is None
                        else self._route_topic.severity(minimum_severity)
                    ),
                    platforms=text_list(platforms, field="platforms"),
                    disabled=disabled,
                )
            },
        )
        return self._route_of(answer)

    async def _get_route(self, name: str, *, timeout_seconds: float | None = None) -> _Route:
        """Read one route, without its target.

        Raises:
            NotFoundError: There is none.
        """
        return self._route_of(
            await self._call_route("Get", timeout_seconds, name=self._route_name(name))
        )

    def _list_routes(
        self, *, page_size: int = 0, page_token: str = "", timeout_seconds: float | None = None
    ) -> Pages[_Route, Any]:
        """List routes by name, without their targets."""
        method = f"List{self._route_topic.resource}s"
        return self._pages(
            getattr(self._stub, method),
            getattr(self._route_topic.messages, f"{method}Request")(
                parent=self._parent, page_size=page_size
            ),
            attrgetter(f"{self._route_topic.field}s"),
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def _update_route(
        self,
        route: _Route,
        *,
        update_mask: Iterable[str] = (),
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> _Route:
        """Change a route.

        Args:
            route: As read, with its etag, and changed; an empty target stays what it was, and is
                encrypted again with the newest key where the mask names it.
            update_mask: Fields to change; none means all that a writer gives.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            EtagMismatchError: It was changed since it was read.
            ChannelInsecureError: The target was sent over an open channel.
        """
        answer = await self._call_route(
            "Update",
            timeout_seconds,
            update_mask=field_mask(update_mask),
            request_id=chosen_request_id(request_id),
            **{self._route_topic.field: route},
        )
        return self._route_of(answer)

    async def _delete_route(
        self,
        name: str,
        *,
        etag: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> None:
        """Remove a route.

        Raises:
            EtagMismatchError: It was changed since it was read with this etag.
        """
        await self._call_route(
            "Delete",
            timeout_seconds,
            name=self._route_name(name),
            etag=etag,
            request_id=chosen_request_id(request_id),
        )

    async def _test_route(
        self, name: str, *, request_id: str = "", timeout_seconds: float | None = None
    ) -> Trial:
        """Send a message that says it is a test; the answer says whether it went out."""
        trial: Trial = await self._call_route(
            "Test",
            timeout_seconds,
            name=self._route_name(name),
            request_id=chosen_request_id(request_id),
        )
        return trial

    def _route_name(self, name: str) -> str:
        return self._name(f"{self._route_topic.noun}Routes", name)

    async def _call_route(self, verb: str, timeout_seconds: float | None, **fields: Any) -> Any:  # noqa: ANN401  # a response
        method = f"{verb}{self._route_topic.resource}"
        request = getattr(self._route_topic.messages, f"{method}Request")(**fields)
        return await self._calls.unary(getattr(self._stub, method), request, timeout_seconds)

    def _route_of(self, answer: Any) -> _Route:  # noqa: ANN401  # a response
        route: _Route = getattr(answer, self._route_topic.field)
        return route
