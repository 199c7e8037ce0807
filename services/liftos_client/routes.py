"""Where people are told of alerts, insights and the like: calls that are alike in all services."""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from liftos_client.arguments import chosen_request_id, field_mask, text_list
from liftos_client.calls import Calls
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


class RouteCalls(ServiceCalls[Any], Generic[_Route, _Kind, _Severity]):
    """Calls about routes of one noun. The target of a route goes in and never comes out.

    Args:
        stub: The generated stub.
        calls: Sends its calls.
        org: The organisation of the token.
        noun: What is told, in lower-case letters, such as "alert".
        messages: Module of the requests.
        route: Type of the routes.
        kind: Returns the number of a kind.
        severity: Returns the number of a severity.
    """

    def __init__(
        self,
        stub: object,
        calls: Calls,
        *,
        org: str,
        noun: str,
        messages: ModuleType,
        route: type[_Route],
        kind: Callable[[_Kind], int],
        severity: Callable[[_Severity], float],
    ) -> None:
        super().__init__(stub, calls, org=org)
        self._resource = f"{noun.title()}Route"
        self._collection = f"{noun}Routes"
        self._field = f"{noun}_route"
        self._messages = messages
        self._route = route
        self._kind = kind
        self._severity = severity

    async def create(
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
        answer = await self._call(
            "Create",
            timeout_seconds,
            request_id=chosen_request_id(request_id),
            **{
                self._field: self._route(
                    name=self._name(self._collection, route_id),
                    display_name=display_name,
                    target_url=target_url,
                    kinds=[self._kind(kind) for kind in kinds],
                    minimum_severity=(
                        None if minimum_severity is None else self._severity(minimum_severity)
                    ),
                    platforms=text_list(platforms, field="platforms"),
                    disabled=disabled,
                )
            },
        )
        return self._route_of(answer)

    async def get(self, name: str, *, timeout_seconds: float | None = None) -> _Route:
        """Read one route, without its target.

        Raises:
            NotFoundError: There is none.
        """
        return self._route_of(
            await self._call("Get", timeout_seconds, name=self._name(self._collection, name))
        )

    def list_pages(
        self, *, page_size: int = 0, page_token: str = "", timeout_seconds: float | None = None
    ) -> Pages[_Route, Any]:
        """List routes by name, without their targets."""
        method = f"List{self._resource}s"
        return self._pages(
            getattr(self._stub, method),
            getattr(self._messages, f"{method}Request")(parent=self._parent, page_size=page_size),
            attrgetter(f"{self._field}s"),
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def update(
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
        answer = await self._call(
            "Update",
            timeout_seconds,
            update_mask=field_mask(update_mask),
            request_id=chosen_request_id(request_id),
            **{self._field: route},
        )
        return self._route_of(answer)

    async def delete(
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
        await self._call(
            "Delete",
            timeout_seconds,
            name=self._name(self._collection, name),
            etag=etag,
            request_id=chosen_request_id(request_id),
        )

    async def test(
        self, name: str, *, request_id: str = "", timeout_seconds: float | None = None
    ) -> Trial:
        """Send a message that says it is a test; the answer says whether it went out."""
        trial: Trial = await self._call(
            "Test",
            timeout_seconds,
            name=self._name(self._collection, name),
            request_id=chosen_request_id(request_id),
        )
        return trial

    async def _call(self, verb: str, timeout_seconds: float | None, **fields: Any) -> Any:  # noqa: ANN401  # a response
        method = f"{verb}{self._resource}"
        request = getattr(self._messages, f"{method}Request")(**fields)
        return await self._calls.unary(getattr(self._stub, method), request, timeout_seconds)

    def _route_of(self, answer: Any) -> _Route:  # noqa: ANN401  # a response
        route: _Route = getattr(answer, self._field)
        return route
