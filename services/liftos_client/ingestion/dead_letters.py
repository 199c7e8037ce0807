"""Dead letters: rows that could not be taken in."""

from collections.abc import Iterable
from typing import Final

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.run_pb2 import DeadLetter
from liftos_client.arguments import chosen_request_id
from liftos_client.ingestion.base import IngestionCalls
from liftos_client.pages import Pages

ALL_RUNS: Final = "-"


class DeadLetterMethods(IngestionCalls):
    """Methods about dead letters. One is named as a whole or as "RUN/DEAD_LETTER"."""

    def list_dead_letters(
        self,
        *,
        run: str = ALL_RUNS,
        filter: str = "",  # noqa: A002  # the contract's word
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[DeadLetter, pb.ListDeadLettersResponse]:
        """List refused rows, newest first, of one run or of all.

        The filter is over state, platform, account_id, level, date.
        """
        return self._pages(
            self._stub.ListDeadLetters,
            pb.ListDeadLettersRequest(
                parent=self._run_name(run), filter=filter, page_size=page_size
            ),
            lambda page: page.dead_letters,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def get_dead_letter(
        self, name: str, *, timeout_seconds: float | None = None
    ) -> DeadLetter:
        """Read one refused row.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetDeadLetterRequest(name=self._dead_letter_name(name))
        answer = await self._calls.unary(self._stub.GetDeadLetter, request, timeout_seconds)
        return answer.dead_letter

    async def replay_dead_letters(
        self,
        names: Iterable[str] = (),
        *,
        run: str = ALL_RUNS,
        filter: str = "",  # noqa: A002
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.ReplayDeadLettersResponse:
        """Try refused rows again in a new run, with the mapping of now.

        Args:
            names: At most 1,000 of them; or give a filter.
            run: Only those of this run.
            filter: Over state, platform, account_id, level, date.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            StateTransitionError: One of them is not open.
        """
        request = pb.ReplayDeadLettersRequest(
            parent=self._run_name(run),
            names=map(self._dead_letter_name, names),
            filter=filter,
            request_id=chosen_request_id(request_id),
        )
        return await self._calls.unary(self._stub.ReplayDeadLetters, request, timeout_seconds)

    async def discard_dead_letters(
        self,
        names: Iterable[str] = (),
        *,
        reason: str,
        run: str = ALL_RUNS,
        filter: str = "",  # noqa: A002
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> int:
        """Give refused rows up, and return how many.

        Args:
            names: At most 1,000 of them; or give a filter.
            reason: Kept with each row.
            run: Only those of this run.
            filter: Over state, platform, account_id, level, date.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            StateTransitionError: One of them is not open.
        """
        request = pb.DiscardDeadLettersRequest(
            parent=self._run_name(run),
            names=map(self._dead_letter_name, names),
            filter=filter,
            reason=reason,
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.DiscardDeadLetters, request, timeout_seconds)
        return answer.discard_count

    def _dead_letter_name(self, name: str) -> str:
        run, slash, dead_letter = name.partition("/")
        if run == "orgs" or not slash:
            return name
        return f"{self._run_name(run)}/deadLetters/{dead_letter}"
