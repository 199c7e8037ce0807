"""Reads that must cover an earlier write."""

from collections.abc import Awaitable, Callable

from liftos_kit.core.errors import InvalidFieldsError
from liftos_memory.domain.write_token import decode_write_token

_FIELD = "consistency.at_least_as_fresh"


class Freshness:
    """Holds reads of Postgres back until it has a write; it has every write that was committed."""

    def __init__(self, last_version: Callable[[str], Awaitable[int]]) -> None:
        self._last_version = last_version

    async def wait(self, org: str, token: str) -> None:
        """Return once the write of the token is visible.

        A token is given after its commit, so the record of truth always covers it; what is left to
        refuse is a token that no write was answered with.

        Raises:
            InvalidFieldsError: The token is damaged, another org's, or of no write.
        """
        if not token:
            return
        version = decode_write_token(org, token, field=_FIELD)
        if version > await self._last_version(org):
            raise InvalidFieldsError.of(
                _FIELD, "stands for a write that never was", rule="write_token"
            )
