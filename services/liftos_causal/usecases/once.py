"""A record that a request makes once, however often the request comes."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from liftos_causal.domain.records import Origin
from liftos_causal.ports import Records
from liftos_kit.core.errors import AlreadyExistsError, RequestIdReusedError


class Made(Protocol):
    """A record that knows its request."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def origin(self) -> Origin:
        """The request that made it."""


Record = TypeVar("Record", bound=Made)


async def made_once(
    records: Records[Record],
    org: str,
    record_id: str,
    origin: Origin,
    make: Callable[[], Awaitable[Record]],
) -> Record:
    """Return the record that this request made before, or make and keep it.

    Args:
        records: Where it is kept.
        org: Whose.
        record_id: Its id.
        origin: The request.
        make: Computes the record.

    Raises:
        AlreadyExistsError: Another request made the record.
        RequestIdReusedError: The request's id came with another payload.
    """
    kept = await records.get(org, record_id)
    if kept is None:
        try:
            return await records.add(org, await make())
        except AlreadyExistsError:
            kept = await records.get(org, record_id)
            if kept is None:
                raise
    if kept.origin.request_id != origin.request_id:
        raise AlreadyExistsError(record_id)
    if kept.origin.payload_sha256 != origin.payload_sha256:
        raise RequestIdReusedError(origin.request_id)
    return kept
