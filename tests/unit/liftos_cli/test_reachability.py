"""Why a server cannot be reached: real listeners, plain, encrypted and none."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme
from typer.testing import CliRunner

from liftos_cli.errors import CommandError
from liftos_cli.main import app
from liftos_cli.reachability import check_target, unreachable

_Answer = Callable[[socket.socket], object]


@contextmanager
def _listener(answer: _Answer) -> Iterator[str]:
    """Give the address of a server that answers one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError), server.accept()[0] as connection:
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(timeout=5)


def _plain(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"\0\0\0\4\0\0\0\0\0")  # an empty SETTINGS frame of HTTP/2


def _encrypted(connection: socket.socket) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("memory.example.com").configure_cert(context)
    context.wrap_socket(connection, server_side=True).close()


@pytest.mark.parametrize(
    ("answer", "encrypted", "message", "advice"),
    [
        (_encrypted, False, "takes encrypted connections only", "--tls-ca FILE"),
        (_plain, True, "takes no encrypted connections", "leave --tls"),
        (_encrypted, True, "is not trusted", "--tls-ca"),
        (_plain, False, "does not answer (of gRPC)", "liftos status"),
    ],
)
def test_what_a_server_answers_decides_the_advice(
    answer: _Answer, message: str, advice: str, *, encrypted: bool
) -> None:
    """The error names the address and the option."""
    with _listener(answer) as target:
        error = unreachable(target, encrypted=encrypted, reason="of gRPC")
    assert error.message.startswith(f"{target} {message}")
    assert advice in error.advice


@pytest.mark.parametrize("target", ["127.0.0.1:1", "dns:///127.0.0.1:1", "[::1]:1"])
def test_where_nobody_listens_a_stack_can_be_started(target: str) -> None:
    """The address is named, and the command that starts one."""
    error = unreachable(target, encrypted=False, reason="of gRPC")
    assert error.message.startswith(f"nothing answers at {target} (")
    assert "liftos up" in error.advice
    assert "--target" in error.advice


@pytest.mark.parametrize("target", ["unix:/nowhere.sock", "xds:///memory", "host:port"])
def test_what_is_no_host_and_port_is_told_as_grpc_says_it(target: str) -> None:
    """Nothing can be looked at."""
    error = unreachable(target, encrypted=False, reason="of gRPC")
    assert error.message == f"{target} does not answer (of gRPC)"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://127.0.0.1:8003", "write --target 127.0.0.1:8003"),
        ("https://memory.example.com:443/", "write --target memory.example.com:443 --tls"),
    ],
)
def test_a_url_is_no_target(url: str, advice: str) -> None:
    """The part of it that is one is shown."""
    with pytest.raises(CommandError) as caught:
        check_target(url)
    assert caught.value.advice == advice
    environment = {"LIFTOS_JWT_SECRET": "s" * 32}
    outcome = CliRunner().invoke(app, ["entries", "list", "--target", url], env=environment)
    assert (outcome.exit_code, outcome.stdout) == (2, "")


@pytest.mark.parametrize("target", ["127.0.0.1:8003", "dns:///memory:8003", "unix:/run/memory"])
def test_what_grpc_takes_is_a_target(target: str) -> None:
    """Nothing is refused that may work."""
    check_target(target)
