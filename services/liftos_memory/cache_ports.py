"""What the cache needs from outside: the state that answers rest on, and a tier that is shared."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class OrgState:
    """What every answer to an org follows from, as long as the program is the same.

    Settings, calendar events and exchange rates change with a commit, as entries do.

    Attributes:
        version: The newest commit.
        commit_time: When that was made; None where there is none.
        index_revision: Rises when searches may find something else without a commit.
        index_waits: Whether documents have yet to follow commits.
    """

    version: int
    commit_time: datetime | None
    index_revision: int
    index_waits: bool


class OrgStates(Protocol):
    """Reads the state of orgs at the least cost."""

    async def read(self, org: str) -> OrgState:
        """Return the state of now.

        Raises:
            StoreUnavailableError: The record of truth does not answer.
        """


class TierError(Exception):
    """A shared tier is away or late."""


class SharedTier(Protocol):
    """Values that several servers share, by key; any of them may be gone at any time.

    Values of an owner are never given under the key of another.
    """

    @property
    def maximum_bytes(self) -> int:
        """What it may hold."""

    async def get(self, key: str) -> bytes | None:
        """Return a value as it was put; None also where something else is in its place.

        Raises:
            TierError: It cannot be told.
        """

    async def put(self, key: str, value: bytes, *, owner: str, seconds: float) -> None:
        """Keep a value for so long at most.

        Raises:
            TierError: It was not kept.
        """

    async def size_bytes(self, owner: str) -> int:
        """Return what it holds for an owner.

        Raises:
            TierError: It cannot be told.
        """
