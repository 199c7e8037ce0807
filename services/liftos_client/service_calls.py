"""What the clients of all services share."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.protobuf.message import Message

from liftos_client.calls import Calls
from liftos_client.pages import Pages

if TYPE_CHECKING:
    from grpc.aio import UnaryUnaryMultiCallable

_Stub = TypeVar("_Stub")
_Item = TypeVar("_Item")
_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Any)


class ServiceCalls(Generic[_Stub]):
    """Calls one service for one organisation.

    Args:
        stub: The generated stub.
        calls: Sends its calls.
        org: The organisation of the token.
    """

    def __init__(self, stub: _Stub, calls: Calls, *, org: str) -> None:
        self._stub = stub
        self._calls = calls
        self._parent = f"orgs/{org}"

    def _name(self, collection: str, name: str) -> str:
        """Return a resource name from itself or from its id."""
        return name if name.startswith("orgs/") else f"{self._parent}/{collection}/{name}"

    def _pages(
        self,
        method: "UnaryUnaryMultiCallable[_Request, _Response]",
        request: _Request,
        items: Callable[[_Response], Iterable[_Item]],
        *,
        page_token: str,
        timeout_seconds: float | None,
    ) -> Pages[_Item, _Response]:
        async def fetch(token: str) -> _Response:
            asked = type(request)()
            asked.CopyFrom(request)
            asked.page_token = token  # type: ignore[attr-defined]  # requests of lists have it
            return await self._calls.unary(method, asked, timeout_seconds)

        return Pages(fetch, items, page_token)
