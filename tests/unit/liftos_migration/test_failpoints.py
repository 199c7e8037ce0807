"""Places at which tests let a process fail."""

import asyncio
import time

import pytest

from liftos_migration.failpoints import FailpointError, Failpoints


async def test_nothing_happens_unless_asked() -> None:
    """An empty variable asks for nothing, and another place is another one."""
    await Failpoints.parse("").come_to("step.before_do")
    await Failpoints.parse("step.after_do:raise").come_to("step.before_do")


async def test_a_place_fails_the_time_that_was_asked_for_and_once() -> None:
    """The third time, and neither before nor after."""
    points = Failpoints.parse("step.before_do:raise@3")
    outcomes = []
    for _ in range(5):
        try:
            await points.come_to("step.before_do")
            outcomes.append("went on")
        except FailpointError:
            outcomes.append("failed")
    assert outcomes == ["went on", "went on", "failed", "went on", "went on"]


async def test_a_place_stands_still() -> None:
    """While others go on."""
    points = Failpoints.parse("step.before_do:sleep=0.1,step.after_do:raise")
    begun = time.monotonic()
    waiting = asyncio.create_task(points.come_to("step.before_do"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await waiting
    assert time.monotonic() - begun >= 0.1
    with pytest.raises(FailpointError, match=r"step\.after_do"):
        await points.come_to("step.after_do")


@pytest.mark.parametrize(
    "text", ["step.before_do", "step.before_do:explode", "nowhere:kill", "step.before_do:kill@x"]
)
def test_a_misspelt_one_is_refused(text: str) -> None:
    """With how it is written."""
    with pytest.raises(ValueError, match="write name:kill@3"):
        Failpoints.parse(text)
