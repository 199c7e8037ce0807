"""Answers that slices of a run share: asked for once, never given anew, and bounded."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from liftos_ingestion.adapters.sources.klaviyo.answers import AnswersOfSession, SharedAnswers
from liftos_ingestion.adapters.sources.platform_http import Answer
from liftos_ingestion.domain.failures import NotReadyError


class Klaviyo:
    """Answers how often it was asked, and where it is told to, not at all."""

    def __init__(self, *, size_bytes: int = 0) -> None:
        self.asked = 0
        self.refuses = 0
        self._padding = "x" * size_bytes

    async def ask(self) -> Answer:
        """Answer after others had their turn."""
        await asyncio.sleep(0)
        if self.refuses:
            self.refuses -= 1
            raise NotReadyError("no room", seconds=1, quota=True)
        self.asked += 1
        data = {"number": self.asked, "padding": self._padding}
        return Answer(200, {}, json.dumps(data).encode(), data)


def sessions(shared: SharedAnswers, count: int, *, run: str = "run") -> Sequence[AnswersOfSession]:
    """Sessions of one run and credential."""
    return [AnswersOfSession(shared, run=run, credential="key") for _ in range(count)]


async def number(session: AnswersOfSession, taker: str, question: str, klaviyo: Klaviyo) -> int:
    """The number of the answer that a session has."""
    answer = await session.take(taker, question, ask=klaviyo.ask)
    assert isinstance(answer.data, dict)
    assert json.loads(answer.body) == answer.data
    found = answer.data["number"]
    assert isinstance(found, int)
    return found


async def test_slices_at_the_same_time_ask_once() -> None:
    """Whoever comes second waits for the answer of the first."""
    klaviyo = Klaviyo()
    made = sessions(SharedAnswers(), 5)
    found = await asyncio.gather(
        *(number(it, f"slice {place}", "q", klaviyo) for place, it in enumerate(made))
    )
    assert set(found) == {1}
    assert await number(made[0], "slice 0", "another", klaviyo) == 2


async def test_one_who_is_refused_leaves_the_question_to_the_next() -> None:
    """A limit that one slice meets is no answer for the others."""
    klaviyo = Klaviyo()
    klaviyo.refuses = 1
    first, second = sessions(SharedAnswers(), 2)
    found = await asyncio.gather(
        number(first, "a", "q", klaviyo), number(second, "b", "q", klaviyo), return_exceptions=True
    )
    assert isinstance(found[0], NotReadyError)
    assert found[1] == 1


async def test_a_slice_that_is_tried_again_gets_another_answer() -> None:
    """The others of the run then share the new one; within a try it stays the same."""
    klaviyo = Klaviyo()
    first, again, other = sessions(SharedAnswers(), 3)
    assert await number(first, "a", "q", klaviyo) == 1
    assert await number(first, "a", "q", klaviyo) == 1
    assert await number(again, "a", "q", klaviyo) == 2
    assert await number(other, "b", "q", klaviyo) == 2


async def test_what_a_failed_slice_has_had_is_forgotten() -> None:
    """What somebody could not read is not given to others."""
    klaviyo = Klaviyo()
    first, second = sessions(SharedAnswers(), 2)
    assert await number(first, "a", "q", klaviyo) == 1
    first.forget()
    assert await number(second, "b", "q", klaviyo) == 2


@pytest.mark.parametrize(
    ("run", "credential"), [("another", "key"), ("run", "another"), ("", "key")]
)
async def test_only_slices_of_one_run_and_credential_share(run: str, credential: str) -> None:
    """A run that reads again has new answers, and what a credential may not see stays unseen."""
    klaviyo = Klaviyo()
    shared = SharedAnswers()
    (first,) = sessions(shared, 1)
    second = AnswersOfSession(shared, run=run, credential=credential)
    assert await number(first, "a", "q", klaviyo) == 1
    assert await number(second, "b", "q", klaviyo) == 2


async def test_answers_end() -> None:
    """One that is too old is asked for again."""
    klaviyo = Klaviyo()
    first, second = sessions(SharedAnswers(seconds=0), 2)
    assert await number(first, "a", "q", klaviyo) == 1
    assert await number(second, "b", "q", klaviyo) == 2


async def test_space_is_bounded_and_the_oldest_go() -> None:
    """Three answers do not fit where two do; one that is larger than all is not kept."""
    shared = SharedAnswers(most_bytes=30_000)
    small, large = Klaviyo(size_bytes=10_000), Klaviyo(size_bytes=40_000)
    first, second = sessions(shared, 2)
    for question in ("1", "2", "3"):
        await number(first, "a", question, small)
    assert await number(second, "b", "3", small) == 3
    assert await number(second, "b", "2", small) == 2
    assert await number(second, "b", "1", small) == 4
    assert await number(first, "a", "large", large) == 1
    assert await number(second, "b", "large", large) == 2
    assert await number(second, "b", "1", small) == 4
