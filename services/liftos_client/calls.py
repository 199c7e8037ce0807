"""One call: its metadata, its deadline, its retries and its error."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, TypeVar

import grpc
from google.protobuf.message import Message

from liftos_client.errors import DeadlineExceededError, LiftosError, decode_error
from liftos_client.policies import Policy

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)
_Result = TypeVar("_Result")

MetadataSource = Callable[[], tuple[tuple[str, str], ...]]
"""Gives the metadata of the next call: the token, and the trace where there is one."""

_FIRST_BACKOFF_SECONDS: Final = 0.1
_LONGEST_BACKOFF_SECONDS: Final = 5.0


def backoff_seconds(failures: int) -> float:
    """Return a random wait before another attempt, with full jitter.

    Args:
        failures: How many attempts failed in a row, from 1.
    """
    longest = min(_LONGEST_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 16))
    return random.uniform(0.0, longest)  # noqa: S311  # spreads load, guards nothing


class Calls:
    """Calls the methods of one service.

    gRPC itself retries UNAVAILABLE by the service config, a few times at once. Where the service
    says when to come back (RetryInfo), the call is repeated here, up to its deadline.

    Args:
        policies: How each method is called, by the class of its requests.
        metadata: Gives the metadata of each call.
        timeout_seconds: Deadline of calls in place of the policies' own; None keeps those.
    """

    def __init__(
        self,
        policies: Mapping[type[Message], Policy],
        metadata: MetadataSource,
        *,
        timeout_seconds: float | None = None,
    ) -> None:
        self._policies = policies
        self._metadata = metadata
        self._timeout_seconds = timeout_seconds

    async def unary(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]",
        request: _Request,
        timeout_seconds: float | None,
    ) -> _Response:
        """Call a method with one answer.

        Raises:
            LiftosError: It failed, also when it was repeated.
        """
        policy = self._policies[type(request)]
        if timeout_seconds is None:
            timeout_seconds = self._timeout_seconds or policy.timeout_seconds
        now = asyncio.get_running_loop().time
        started = now()
        try:
            return await method(request, timeout=timeout_seconds, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            failure = decode_error(error)

        async def call(remaining_seconds: float | None) -> _Response:
            return await method(request, timeout=remaining_seconds, metadata=self._metadata())

        deadline = None if timeout_seconds is None else started + timeout_seconds
        return await self._repeat(call, failure, deadline, repeatable=policy.repeatable)

    async def collect(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[_Request, _Response]",
        request: _Request,
        timeout_seconds: float | None,
    ) -> list[_Response]:
        """Read a finite stream of answers whole; it is repeated from its start where that helps.

        Raises:
            LiftosError: It failed, also when it was repeated.
        """
        policy = self._policies[type(request)]
        if timeout_seconds is None:
            timeout_seconds = self._timeout_seconds or policy.timeout_seconds
        now = asyncio.get_running_loop().time
        deadline = None if timeout_seconds is None else now() + timeout_seconds

        async def call(remaining_seconds: float | None) -> list[_Response]:
            stream = method(request, timeout=remaining_seconds, metadata=self._metadata())
            return [response async for response in stream]

        try:
            return await call(timeout_seconds)
        except grpc.aio.AioRpcError as error:
            failure = decode_error(error)
        return await self._repeat(call, failure, deadline, repeatable=True)

    def resume(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[_Request, _Response]",
        request: _Request,
        timeout_seconds: float | None,
    ) -> AsyncIterator[_Response]:
        """Read a stream whose answers say with a `resume_token` how to go on after them.

        It goes on by itself after a failure that passes, once there is a token. A watch has no
        deadline unless one is given; it then ends with DeadlineExceededError.

        Raises:
            LiftosError: It failed.
        """

        def go_on(current: _Request, response: _Response) -> bool:
            current.resume_token = response.resume_token  # type: ignore[attr-defined]
            return bool(current.resume_token)  # type: ignore[attr-defined]

        return self._reopen(method, request, timeout_seconds, go_on)

    def follow(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[_Request, _Response]",
        request: _Request,
        timeout_seconds: float | None,
    ) -> AsyncIterator[_Response]:
        """Read a stream of which each answer is the whole state, so that it may begin anew.

        It goes on by itself after a failure that passes, once there was an answer.

        Raises:
            LiftosError: It failed.
        """
        return self._reopen(method, request, timeout_seconds, lambda _, __: True)

    async def _reopen(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[_Request, _Response]",
        request: _Request,
        timeout_seconds: float | None,
        go_on: Callable[[_Request, _Response], bool],
    ) -> AsyncIterator[_Response]:
        """Read a stream, and open it again after a failure that passes.

        Args:
            method: Opens it.
            request: The first request.
            timeout_seconds: Deadline of all of it.
            go_on: Makes a request go on after an answer, and says whether it can.
        """
        now = asyncio.get_running_loop().time
        deadline = None if timeout_seconds is None else now() + timeout_seconds
        current = type(request)()
        current.CopyFrom(request)
        can_go_on = bool(getattr(request, "resume_token", ""))
        failures = 0
        while True:
            remaining_seconds = None if deadline is None else deadline - now()
            stream = method(current, timeout=remaining_seconds, metadata=self._metadata())
            try:
                async for response in stream:
                    failures = 0
                    can_go_on = go_on(current, response)
                    yield response
            except grpc.aio.AioRpcError as error:
                failure = decode_error(error)
            else:
                return
            finally:
                stream.cancel()
            failures += 1
            wait_seconds = (failure.retry_after_seconds or 0.0) + backoff_seconds(failures)
            late = deadline is not None and now() + wait_seconds >= deadline
            if late or not failure.retriable or not can_go_on:
                raise failure from None
            await asyncio.sleep(wait_seconds)

    def open(
        self, method: "grpc.aio.StreamStreamMultiCallable[_Request, _Response]"
    ) -> "grpc.aio.StreamStreamCall[_Request, _Response]":
        """Open a stream in both directions; its errors are the caller's to decode."""
        return method(metadata=self._metadata())

    async def _repeat(
        self,
        call: Callable[[float | None], Awaitable[_Result]],
        failure: LiftosError,
        deadline: float | None,
        *,
        repeatable: bool,
    ) -> _Result:
        now = asyncio.get_running_loop().time
        failures = 1
        while repeatable and failure.retriable and failure.retry_after_seconds is not None:
            wait_seconds = failure.retry_after_seconds + backoff_seconds(failures)
            if deadline is not None and now() + wait_seconds >= deadline:
                break
            await asyncio.sleep(wait_seconds)
            try:
                return await call(None if deadline is None else deadline - now())
            except grpc.aio.AioRpcError as error:
                last = decode_error(error)
            if isinstance(last, DeadlineExceededError):
                # What kept it from an answer until then says more than that its time is over.
                break
            failure = last
            failures += 1
        # The cause would show grpc's own error, of which the details were just read.
        raise failure from None
