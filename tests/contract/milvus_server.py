"""A real Milvus Lite server for tests, which can die and come back."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

STARTS_WITHIN_SECONDS = 20.0


class MilvusServer:
    """A Milvus Lite server as a child process, which can die and come back."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the server and return once its port is open."""
        process = self._spawn()
        async with asyncio.timeout(STARTS_WITHIN_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    await writer.wait_closed()
                    return
                assert process.poll() is None
                await asyncio.sleep(0.05)

    def _spawn(self) -> subprocess.Popen[bytes]:
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "milvus_lite", "server"),
                *(*address, "--data-dir", str(self._data_dir)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self._process

    def send(self, number: signal.Signals) -> None:
        """Send the server a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the server as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
