"""The life of a migration: its states, and which can follow which."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final, Self


class MigrationState(IntEnum):
    """Where a migration is; the numbers are the contract's."""

    DRAFT = 1
    PREFLIGHT = 2
    INVENTORIED = 3
    SNAPSHOTTED = 4
    PREPARED = 5
    COPYING = 6
    CATCHING_UP = 7
    VERIFYING = 8
    VERIFIED = 9
    SHADOWING = 10
    SHIFTING = 11
    CUTTING_OVER = 12
    SOAKING = 13
    COMPLETED = 14
    PAUSED = 15
    HELD = 16
    RESNAPSHOT_REQUIRED = 17
    ROLLING_BACK = 18
    ROLLED_BACK = 19
    CANCELLED = 20


class CutOverPhase(IntEnum):
    """Where a cut-over is; the numbers are the contract's."""

    NONE = 0
    FENCED = 1
    DRAINED = 2
    PARITY = 3
    COMMITTED = 4


class RollbackLevel(IntEnum):
    """How far a rollback goes; the numbers are the contract's."""

    NONE = 0
    R0 = 1
    R1 = 2
    R2 = 3
    R3 = 4


_S: Final = MigrationState

TO_VERIFIED: Final = (
    _S.PREFLIGHT,
    _S.INVENTORIED,
    _S.SNAPSHOTTED,
    _S.PREPARED,
    _S.COPYING,
    _S.CATCHING_UP,
    _S.VERIFYING,
    _S.VERIFIED,
)
"""The way that a worker goes by itself once it was started."""

REACHED: Final = frozenset({_S.INVENTORIED, _S.SNAPSHOTTED, _S.PREPARED, _S.VERIFIED})
"""States that say what has been done: they begin when their steps have ended. All others begin
with their steps."""

STOPPED: Final = frozenset({_S.PAUSED, _S.HELD, _S.RESNAPSHOT_REQUIRED})
"""States that remember where to go on."""

ENDED: Final = frozenset({_S.COMPLETED, _S.ROLLED_BACK, _S.CANCELLED})
"""Nothing follows."""

WORKING: Final = frozenset(set(_S) - {_S.DRAFT} - STOPPED - ENDED)
"""States in which a worker has something to do."""

_FORWARD: Final[Mapping[MigrationState, frozenset[MigrationState]]] = MappingProxyType(
    {
        _S.DRAFT: frozenset({_S.PREFLIGHT}),
        _S.PREFLIGHT: frozenset({_S.INVENTORIED}),
        _S.INVENTORIED: frozenset({_S.SNAPSHOTTED}),
        _S.SNAPSHOTTED: frozenset({_S.PREPARED}),
        _S.PREPARED: frozenset({_S.COPYING}),
        _S.COPYING: frozenset({_S.CATCHING_UP}),
        _S.CATCHING_UP: frozenset({_S.VERIFYING}),
        _S.VERIFYING: frozenset({_S.VERIFIED}),
        _S.VERIFIED: frozenset({_S.SHADOWING, _S.SHIFTING, _S.CUTTING_OVER}),
        _S.SHADOWING: frozenset({_S.VERIFIED, _S.SHIFTING, _S.CUTTING_OVER}),
        _S.SHIFTING: frozenset({_S.VERIFIED, _S.SHADOWING, _S.CUTTING_OVER}),
        # What fails before the switch unwinds to where the cut-over began.
        _S.CUTTING_OVER: frozenset({_S.VERIFIED, _S.SHADOWING, _S.SHIFTING, _S.SOAKING}),
        _S.SOAKING: frozenset({_S.COMPLETED}),
        _S.ROLLING_BACK: frozenset({_S.ROLLED_BACK, _S.CANCELLED}),
    }
)

_COPIES: Final = frozenset(
    {
        _S.PREPARED,
        _S.COPYING,
        _S.CATCHING_UP,
        _S.VERIFYING,
        _S.VERIFIED,
        _S.SHADOWING,
        _S.SHIFTING,
    }
)
"""What is on Core follows the source, which a gap in its changes would end."""

_CANCELLED_AT_ONCE: Final = frozenset({_S.DRAFT})
"""Nothing was done that would have to be taken back."""


def _allowed() -> Mapping[MigrationState, frozenset[MigrationState]]:
    allowed: dict[MigrationState, frozenset[MigrationState]] = {}
    for state in MigrationState:
        after = set(_FORWARD.get(state, ()))
        if state in WORKING:
            after |= {_S.PAUSED, _S.HELD}
        if state in _COPIES:
            after.add(_S.RESNAPSHOT_REQUIRED)
        if state in WORKING | STOPPED and state is not _S.ROLLING_BACK:
            after.add(_S.ROLLING_BACK)
        if state in _CANCELLED_AT_ONCE:
            after.add(_S.CANCELLED)
        if state is _S.HELD:
            after.add(_S.PAUSED)
        allowed[state] = frozenset(after)
    return MappingProxyType(allowed)


ALLOWED: Final = _allowed()
"""What may follow each state; a stopped one is also followed by where it goes on."""


class TransitionError(Exception):
    """One state may not follow the other."""

    def __init__(self, before: MigrationState, after: MigrationState) -> None:
        super().__init__(f"{after.name} does not follow {before.name}")
        self.before = before
        self.after = after


@dataclass(frozen=True, slots=True)
class Place:
    """Where a migration is.

    Attributes:
        state: Its state.
        resume_state: Where it goes on; None unless the state is a stopped one.
    """

    state: MigrationState
    resume_state: MigrationState | None = None

    def __post_init__(self) -> None:
        if (self.state in STOPPED) != (self.resume_state is not None):
            raise ValueError("a stopped migration, and no other, knows where it goes on")
        if self.resume_state is not None and self.resume_state not in WORKING:
            raise ValueError("a migration goes on in a state in which it works")

    @property
    def active(self) -> MigrationState:
        """Its state, or for a stopped one the state in which it goes on."""
        return self.resume_state or self.state

    def moved(self, after: MigrationState) -> Self:
        """Return the place after a change of the state.

        One that stops goes on where it was; one whose changes have a gap prepares anew.

        Raises:
            TransitionError: That state may not follow.
        """
        if after not in ALLOWED[self.state]:
            raise TransitionError(self.state, after)
        resume: MigrationState | None = None
        if after is _S.RESNAPSHOT_REQUIRED:
            resume = _S.SNAPSHOTTED
        elif after in STOPPED:
            resume = self.active
        return type(self)(after, resume)

    def resumed(self, at: MigrationState | None = None) -> Self:
        """Return the place from which a stopped migration goes on.

        Args:
            at: An earlier place than the one where it stopped, where what was done since does not
                count any more; one of the way to VERIFIED.

        Raises:
            TransitionError: It is not stopped, or the place is not an earlier one.
        """
        if self.resume_state is None:
            raise TransitionError(self.state, at or self.state)
        if at is None:
            return type(self)(self.resume_state)
        if at not in TO_VERIFIED or at > self.resume_state:
            raise TransitionError(self.state, at)
        return type(self)(at)
