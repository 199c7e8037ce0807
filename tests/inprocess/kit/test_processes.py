"""Real server processes: signals, several on one port, death of the parent, taken ports."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from tests.inprocess.kit.echo_service import Echo, Stub, authorization
from tests.inprocess.kit.statuses import refusal_of

from liftos_kit.ports import PortTakenError, check_free, owner_of
from liftos_kit.testing.server import SECRET

ROOT = Path(__file__).parents[3]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class _Program:
    process: asyncio.subprocess.Process
    port: int
    lines: list[str]

    async def said(self, text: str) -> str:
        """Return the next line of output that holds a text."""
        assert self.process.stdout is not None
        while line := (await self.process.stdout.readline()).decode():
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} was not said in {self.lines}")


@asynccontextmanager
async def _program(port: int | None = None, **environment: str) -> AsyncIterator[_Program]:
    chosen = _free_port() if port is None else port
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.inprocess.kit.serve_echo",
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": "services:gen:.",
            "LIFTOS_JWT_SECRET": SECRET,
            "LIFTOS_PORT": str(chosen),
            "LIFTOS_METRICS_PORT": "0",
            "LIFTOS_DRAIN_SECONDS": "5",
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield _Program(process, chosen, [])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def _stub(port: int) -> AsyncIterator[Stub]:
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        yield Stub(channel)


async def _pid(port: int, **request: str) -> int:
    async with _stub(port) as stub:
        answer = await stub.read(Echo(**request), metadata=authorization(), wait_for_ready=True)
        return int(answer.text)


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110  # another process gives no event
            await asyncio.sleep(0.02)


async def test_a_signal_drains_and_exits_with_0() -> None:
    """Watches are told to come back, calls finish, stores are closed."""
    async with _program() as program, _stub(program.port) as stub:
        await program.said("serving")
        watch = stub.watch(Echo(), metadata=authorization())
        await watch.read()
        slow = asyncio.ensure_future(_await(stub.read(Echo(text="slow"), metadata=authorization())))
        await asyncio.sleep(0.2)
        program.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch.read()
        assert refusal_of(caught.value).reason == "ERROR_REASON_SHUTTING_DOWN"
        assert int((await slow).text) == program.process.pid
        await program.said("closed")
        assert await program.process.wait() == 0


async def _await(call: Any) -> Any:
    return await call


async def test_a_second_signal_kills_at_once() -> None:
    """An impatient operator does not wait for the drain."""
    async with _program(LIFTOS_DRAIN_SECONDS="60") as program, _stub(program.port) as stub:
        await program.said("serving")
        call = asyncio.ensure_future(_await(stub.read(Echo(text="slow"), metadata=authorization())))
        await asyncio.sleep(0.2)
        program.process.send_signal(signal.SIGINT)
        await program.said("draining")
        program.process.send_signal(signal.SIGINT)
        assert await program.process.wait() == -signal.SIGINT
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def test_a_taken_port_names_its_owner() -> None:
    """The second server says who has the port, and exits with 2."""
    async with _program() as first:
        await first.said("serving")
        async with _program(port=first.port) as second:
            line = json.loads(await second.said("start_failed"))
            assert f"Port {first.port} on 127.0.0.1 is taken by" in line["error"]
            assert f"(pid {first.process.pid})" in line["error"]
            assert await second.process.wait() == 2


def test_owners_of_ports() -> None:
    """A port of ours is ours, a free one nobody's; sharing does not hide a listener."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert f"(pid {os.getpid()})" in (owner_of(port) or "")
        with pytest.raises(PortTakenError):
            check_free("127.0.0.1", port)
    assert owner_of(port) is None
    check_free("127.0.0.1", port)


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_a_service_that_cannot_start_says_why(processes: str) -> None:
    """An exception on opening ends the program with 2, also with several processes."""
    async with _program(ECHO_FAILS="1", LIFTOS_PROCESSES=processes) as program:
        line = json.loads(await program.said("start_failed"))
        assert line["error"] == "the schema is older than this program"
        assert await program.process.wait() == 2


async def test_several_processes_share_a_port() -> None:
    """Calls reach both; one that dies is replaced; a signal to the parent ends all with 0."""
    async with _program(LIFTOS_PROCESSES="2") as program:
        seen: set[int] = set()

        async def both() -> bool:
            seen.add(await _pid(program.port))
            return len(seen) == 2

        await _until(both)
        assert program.process.pid not in seen
        async with _stub(program.port) as stub:
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.read(Echo(text="die"), metadata=authorization())
        assert json.loads(await program.said("worker_died"))["code"] == 9

        async def replaced() -> bool:
            seen.add(await _pid(program.port))
            return len(seen) == 3

        await _until(replaced)
        program.process.send_signal(signal.SIGTERM)
        assert await program.process.wait() == 0
        assert not any(psutil.pid_exists(pid) for pid in seen)


async def test_workers_do_not_outlive_their_parent() -> None:
    """Even a parent that is killed without a word leaves nothing behind."""
    async with _program(LIFTOS_PROCESSES="2") as program:
        seen: set[int] = set()

        async def both() -> bool:
            seen.add(await _pid(program.port))
            return len(seen) == 2

        await _until(both)
        workers = [psutil.Process(pid) for pid in seen]
        program.process.kill()
        await program.process.wait()

        async def gone() -> bool:
            return not any(
                each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in workers
            )

        await _until(gone)


async def test_wrong_settings_are_told_before_anything_starts() -> None:
    """All wrong keys on standard error, exit code 2."""
    async with _program(LIFTOS_PROT="1", LIFTOS_PROCESSES="none") as program:
        await program.said("The settings are wrong")
        await program.said("LIFTOS_PROCESSES")
        await program.said("LIFTOS_PROT")
        assert await program.process.wait() == 2
