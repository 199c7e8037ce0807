"""A real Milvus Lite server for tests, which can die and come back."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
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

    def freeze(self) -> None:
        """Stop the server as a machine that hangs would, and return once no thread of it runs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self._process.pid}/task")
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        # The state is the word behind the name, which stands in brackets.
        while any(
            (task / "stat").read_text().rpartition(")")[2].split()[0] != "T"
            for task in tasks.iterdir()
        ):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def thaw(self) -> None:
        """Let the server go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the server as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
