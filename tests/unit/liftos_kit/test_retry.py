"""Trying again waits longer each time, keeps its deadline, and gives the last error."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.core.errors import NotFoundError, StoreUnavailableError
from liftos_kit.core.retry import Backoff, retry
from liftos_kit.testing.clock import FakeClock


def _longest(low: float, high: float) -> float:
    return high


@given(
    st.floats(0.001, 10),
    st.floats(10, 100),
    st.integers(1, 2_000),
    st.floats(0, 1),
)
def test_waits_stay_within_their_bounds(base: float, cap: float, tries: int, share: float) -> None:
    """Each wait is at most the doubled base and the cap, however many tries there are."""
    backoff = Backoff(base_seconds=base, maximum_seconds=cap, maximum_tries=tries)
    waits = list(backoff.waits_seconds(lambda low, high: low + share * (high - low)))
    assert len(waits) == tries - 1
    assert all(0 <= wait <= min(cap, base * 2.0 ** min(n, 60)) for n, wait in enumerate(waits))


@pytest.mark.parametrize(
    "values", [{"base_seconds": 0}, {"base_seconds": 99}, {"maximum_tries": 0}]
)
def test_senseless_backoffs(values: dict[str, float]) -> None:
    """A back-off that cannot be is refused."""
    with pytest.raises(ValueError, match="must be"):
        Backoff(**values)  # type: ignore[arg-type]


class _Failing:
    """Fails some times, then works; remembers when it was tried."""

    def __init__(self, clock: FakeClock, errors: list[Exception]) -> None:
        self._clock = clock
        self._errors = errors
        self.tried_at: list[float] = []

    async def __call__(self) -> str:
        self.tried_at.append(self._clock.monotonic_seconds())
        if self._errors:
            raise self._errors.pop(0)
        return "done"


def _unavailable(error: Exception) -> bool:
    return isinstance(error, StoreUnavailableError)


async def _run(operation: _Failing, clock: FakeClock, deadline_seconds: float) -> str:
    task = asyncio.ensure_future(
        retry(
            operation,
            should_retry=_unavailable,
            backoff=Backoff(base_seconds=1, maximum_seconds=4, maximum_tries=5),
            deadline_seconds=deadline_seconds,
            clock=clock,
            uniform=_longest,
        )
    )
    await clock.advance(100)
    return await task


async def test_it_works_in_the_end() -> None:
    """Tries come after 1, 2 and 4 seconds, or after what the error asks for if that is longer."""
    clock = FakeClock()
    errors: list[Exception] = [
        StoreUnavailableError("a", retry_after_seconds=0.1),
        StoreUnavailableError("a", retry_after_seconds=7),
        StoreUnavailableError("a", retry_after_seconds=0.1),
    ]
    operation = _Failing(clock, errors)
    assert await _run(operation, clock, 60) == "done"
    assert operation.tried_at == [0, 1, 8, 12]


async def test_no_try_begins_after_the_deadline() -> None:
    """A wait that would end too late is not begun."""
    clock = FakeClock()
    operation = _Failing(clock, [StoreUnavailableError("a", retry_after_seconds=0)] * 9)
    with pytest.raises(StoreUnavailableError):
        await _run(operation, clock, 3)
    assert operation.tried_at == [0, 1]


async def test_tries_are_counted() -> None:
    """After the last try its error is the answer."""
    clock = FakeClock()
    operation = _Failing(clock, [StoreUnavailableError("a", retry_after_seconds=0)] * 9)
    with pytest.raises(StoreUnavailableError):
        await _run(operation, clock, 1_000)
    assert len(operation.tried_at) == 5


async def test_other_errors_are_final() -> None:
    """What will not pass by itself is not tried again."""
    clock = FakeClock()
    operation = _Failing(clock, [NotFoundError("orgs/acme/entries/1")])
    with pytest.raises(NotFoundError):
        await _run(operation, clock, 60)
    assert operation.tried_at == [0]
