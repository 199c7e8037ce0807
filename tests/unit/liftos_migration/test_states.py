"""The life of a migration: no state follows another that may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from liftos.migration.v1 import migration_pb2
from liftos_migration.domain.states import (
    ALLOWED,
    ENDED,
    REACHED,
    STOPPED,
    TO_VERIFIED,
    WORKING,
    MigrationState,
    Place,
    TransitionError,
)

S = MigrationState
STATES = st.sampled_from(sorted(MigrationState))


def test_states_are_the_contracts() -> None:
    """Names and numbers are those of the contract."""
    numbers = dict(migration_pb2.MigrationState.items())
    assert {f"MIGRATION_STATE_{state.name}": state.value for state in MigrationState} == {
        name: number for name, number in numbers.items() if number
    }


def test_every_state_is_of_one_sort() -> None:
    """A worker works on it, it waits for somebody, or nothing follows."""
    assert {S.DRAFT} | WORKING | STOPPED | ENDED == set(MigrationState)
    assert not WORKING & STOPPED
    assert not WORKING & ENDED
    assert set(TO_VERIFIED) >= REACHED


def test_nothing_follows_the_end_and_everything_else_can_end() -> None:
    """From each state that is no end, an end can be reached."""
    for state in MigrationState:
        reached, edge = {state}, {state}
        while edge:
            edge = {after for each in edge for after in ALLOWED[each]} - reached
            reached |= edge
        assert bool(ALLOWED[state]) == (state not in ENDED)
        assert reached & ENDED


@given(before=STATES, after=STATES)
def test_a_place_moves_only_where_it_may(before: MigrationState, after: MigrationState) -> None:
    """What is not allowed is refused, and says what was tried."""
    place = Place(before, S.COPYING if before in STOPPED else None)
    if after in ALLOWED[before]:
        assert place.moved(after).state is after
    else:
        with pytest.raises(TransitionError) as refused:
            place.moved(after)
        assert (refused.value.before, refused.value.after) == (before, after)


@given(state=STATES, resume=st.none() | STATES)
def test_only_stopped_migrations_know_where_they_go_on(
    state: MigrationState, resume: MigrationState | None
) -> None:
    """No other place can be written down."""
    legal = resume in WORKING if state in STOPPED else resume is None
    if legal:
        assert Place(state, resume).active is (resume or state)
    else:
        with pytest.raises(ValueError, match="goes on"):
            Place(state, resume)


@pytest.mark.parametrize("stop", sorted(STOPPED))
@pytest.mark.parametrize("state", sorted(WORKING))
def test_a_stopped_migration_goes_on_where_it_stopped(
    state: MigrationState, stop: MigrationState
) -> None:
    """But for one whose changes have a gap, which is prepared anew."""
    if stop not in ALLOWED[state]:
        return
    stopped = Place(state).moved(stop)
    expected = S.SNAPSHOTTED if stop is S.RESNAPSHOT_REQUIRED else state
    assert stopped.resumed() == Place(expected)


def test_a_held_migration_that_a_person_pauses_goes_on_where_it_was() -> None:
    """And not in HELD."""
    assert Place(S.SHIFTING).moved(S.HELD).moved(S.PAUSED).resumed() == Place(S.SHIFTING)


def test_a_stopped_migration_can_go_on_earlier_but_not_later() -> None:
    """Where what was done since does not count any more."""
    stopped = Place(S.COPYING).moved(S.PAUSED)
    assert stopped.resumed(S.PREFLIGHT) == Place(S.PREFLIGHT)
    for later in (S.CATCHING_UP, S.SHADOWING, S.DRAFT, S.CANCELLED):
        with pytest.raises(TransitionError):
            stopped.resumed(later)
    with pytest.raises(TransitionError):
        Place(S.COPYING).resumed()


class Life(RuleBasedStateMachine):
    """Moves a migration at random; a simple model says where it must be."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Place(S.DRAFT)
        self.worked_in = S.DRAFT

    @initialize()
    def start(self) -> None:
        """Begin."""
        self.place = self.place.moved(S.PREFLIGHT)
        self.worked_in = S.PREFLIGHT

    @rule(after=STATES)
    def move(self, after: MigrationState) -> None:
        """Try any change."""
        before = self.place
        try:
            self.place = before.moved(after)
        except TransitionError:
            assert self.place is before
            return
        if after is S.RESNAPSHOT_REQUIRED:
            self.worked_in = S.SNAPSHOTTED
        elif after not in STOPPED:
            self.worked_in = after

    @rule()
    def resume(self) -> None:
        """Try to go on."""
        if self.place.state in STOPPED:
            self.place = self.place.resumed()
            assert self.place.state is self.worked_in
        else:
            with pytest.raises(TransitionError):
                self.place.resumed()

    @invariant()
    def is_where_it_works_or_was_stopped(self) -> None:
        """The model and the place agree, and a stopped one knows where it goes on."""
        assert self.place.active is self.worked_in
        assert (self.place.state in STOPPED) == (self.place.resume_state is not None)


TestLife = Life.TestCase
