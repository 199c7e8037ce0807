"""Messages reach real servers, or say why not, and give no secret away."""

import asyncio
import gzip
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import trustme

from liftos_kit.notify.apprise_notifier import AppriseNotifier, apprise_notifier
from liftos_kit.notify.notifier import (
    Message,
    NotificationFailedError,
    Notifier,
    Problem,
    Severity,
    TargetRefusedError,
)
from liftos_kit.secrets.secret import Secret
from liftos_kit.settings import NotificationSettings, load

PATH = "Zk3yPathToken9"
PASSWORD = "Qx7Password2u"
MESSAGE = Message(
    "2 accounts are late", "Newest day: 2026-01-31.", Severity.CRITICAL, "https://example.com/a"
)
OPEN = AppriseNotifier(timeout_seconds=20, private_targets=True)
CLOSED = AppriseNotifier(timeout_seconds=20, private_targets=False)


@dataclass
class _Webhook:
    port: int
    requests: list[bytes] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    open_calls: int = 0
    most_open_calls: int = 0

    @property
    def url(self) -> Secret:
        return Secret(f"json://reporter:{PASSWORD}@127.0.0.1:{self.port}/{PATH}")

    @property
    def message(self) -> dict[str, object]:
        """Of the only request."""
        (request,) = self.requests
        found: dict[str, object] = json.loads(request.partition(b"\r\n\r\n")[2])
        return found


@asynccontextmanager
async def _webhook(
    *chunks: bytes, every_seconds: float = 0.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[_Webhook]:
    """A server that answers each request in these chunks; without any, never."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        webhook.open_calls += 1
        webhook.most_open_calls = max(webhook.open_calls, webhook.most_open_calls)
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            webhook.requests.append(head + await reader.readexactly(length))
            webhook.arrived.set()
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(every_seconds)
            if not chunks:
                await ended.wait()
        webhook.open_calls -= 1
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    webhook = _Webhook(server.sockets[0].getsockname()[1])
    async with server:
        yield webhook
        ended.set()


def _answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _failure(notifier: Notifier, target: Secret) -> NotificationFailedError:
    with pytest.raises(NotificationFailedError) as caught:
        await notifier.send(target, MESSAGE)
    told = f"{caught.value}{caught.value!r}{caught.getrepr(style='long', showlocals=True)}"
    assert not [secret for secret in (PATH, PASSWORD) if secret in told]
    return caught.value


def _children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if "apprise_process" in " ".join(child.cmdline())
    ]


async def test_a_message_arrives(caplog: pytest.LogCaptureFixture) -> None:
    """Whole, once, with the password of the target, and without a line in any log."""
    caplog.set_level(logging.DEBUG)
    async with _webhook(_answer("200 OK")) as webhook:
        assert await OPEN.check(webhook.url) == "json"
        assert webhook.requests == []
        await OPEN.send(webhook.url, MESSAGE)
    assert webhook.message == {
        "version": "1.0",
        "title": "2 accounts are late",
        "message": "Newest day: 2026-01-31.\n\nhttps://example.com/a",
        "attachments": [],
        "type": "failure",
    }
    assert f"POST /{PATH} ".encode() in webhook.requests[0]
    assert b"authorization: basic" in webhook.requests[0].lower()
    assert PATH not in caplog.text
    assert PASSWORD not in caplog.text


async def test_secrets_do_not_leave_in_a_message() -> None:
    """Neither a known one nor what looks like one, as in an error text of a platform."""
    token = Secret("EAABsbCS1iHgBA7Z")
    text = f"GET /me?access_token={token.reveal()} failed; Bearer abcdefgh12345"
    async with _webhook(_answer("204 No Content")) as webhook:
        await OPEN.send(webhook.url, Message(text, text, Severity.INFO))
    assert token.reveal().encode() not in webhook.requests[0]
    assert b"abcdefgh12345" not in webhook.requests[0]
    assert webhook.message["type"] == "info"


@pytest.mark.parametrize(
    ("answer", "status", "passes"),
    [
        (_answer("401 Unauthorized", body=PATH.encode()), 401, False),
        (_answer("503 Service Unavailable"), 503, True),
        (_answer("302 Found", f"Location: /{PATH}"), 302, False),
    ],
)
async def test_a_refusal_is_told(answer: bytes, status: int, passes: bool) -> None:
    """With its status; a redirection is not followed."""
    async with _webhook(answer) as webhook:
        failed = await _failure(OPEN, webhook.url)
    assert (failed.problem, failed.http_status) == (Problem.REJECTED, status)
    assert failed.may_pass is passes
    assert len(webhook.requests) == 1


async def test_a_dead_port() -> None:
    """Nobody listens: the target is unreachable."""
    async with _webhook() as webhook:
        target = webhook.url
    assert (await _failure(OPEN, target)).problem is Problem.UNREACHABLE


async def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target of an unknown authority gets nothing; the operator's own authority is known."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with _webhook(_answer("200 OK"), tls=tls) as webhook:
        target = Secret(f"jsons://127.0.0.1:{webhook.port}/{PATH}")
        assert (await _failure(OPEN, target)).problem is Problem.UNREACHABLE
        assert webhook.requests == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
        await OPEN.send(target, MESSAGE)
        assert webhook.message["title"] == MESSAGE.title


async def test_a_silent_target_shows_no_secret_and_ends() -> None:
    """While it hangs, the process has no secret in its arguments or variables; then it is gone."""
    # Its process takes a second to start, and several on a busy machine.
    notifier = AppriseNotifier(timeout_seconds=10, private_targets=True)
    async with _webhook() as webhook:
        sending = asyncio.create_task(_failure(notifier, webhook.url))
        arrived = asyncio.create_task(webhook.arrived.wait())
        await asyncio.wait({sending, arrived}, return_when=asyncio.FIRST_COMPLETED)
        assert arrived.done(), await sending
        (process,) = _children()
        shown = f"{process.cmdline()}{process.environ()}"
        assert PATH not in shown
        assert PASSWORD not in shown
        assert "LIFTOS" not in shown
        assert (await sending).problem is Problem.TIMED_OUT
    assert _children() == []


async def test_a_target_that_drips_is_cut_off() -> None:
    """A byte now and then does not keep the process beyond its time."""
    notifier = AppriseNotifier(timeout_seconds=3, private_targets=True)
    drops = (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", *[b"x"] * 90)
    async with _webhook(*drops, every_seconds=0.5) as webhook:
        start = time.monotonic()
        assert (await _failure(notifier, webhook.url)).problem is Problem.TIMED_OUT
        assert time.monotonic() - start < 6
        assert _children() == []


async def test_an_answer_that_swells_costs_the_process_alone() -> None:
    """A megabyte that unpacks to a gigabyte ends the process, not the service."""
    bomb = gzip.compress(bytes(1_000_000_000), compresslevel=1)
    before = psutil.Process().memory_info().rss
    async with _webhook(_answer("200 OK", "Content-Encoding: gzip", body=bomb)) as webhook:
        assert (await _failure(OPEN, webhook.url)).problem is Problem.FAILED
    assert psutil.Process().memory_info().rss - before < 200_000_000
    assert _children() == []


async def test_a_cancelled_message_leaves_nothing_behind() -> None:
    """Its process is ended."""
    async with _webhook() as webhook:
        sending = asyncio.create_task(OPEN.send(webhook.url, MESSAGE))
        await webhook.arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert _children() == []


async def test_few_processes_at_once() -> None:
    """Four messages are under way at most; the others wait for their turn."""
    async with _webhook(_answer("200 OK"), every_seconds=0.3) as webhook:
        await asyncio.gather(*(OPEN.send(webhook.url, MESSAGE) for _ in range(7)))
    assert len(webhook.requests) == 7
    assert webhook.most_open_calls <= 4


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:7f00:1]"]
)
async def test_private_addresses_are_refused(host: str) -> None:
    """However they are written, by the check and, where none was made, when connecting."""
    async with _webhook(_answer("200 OK")) as webhook:
        target = Secret(f"json://{host}:{webhook.port}/{PATH}")
        with pytest.raises(TargetRefusedError, match="LIFTOS_NOTIFICATION_PRIVATE_TARGETS") as told:
            await CLOSED.check(target)
        assert told.value.problem is Problem.ADDRESS_REFUSED
        assert (await _failure(CLOSED, target)).problem is Problem.ADDRESS_REFUSED
    assert webhook.requests == []
    assert webhook.most_open_calls == 0


async def test_the_addresses_of_clouds_stay_closed() -> None:
    """Also where private targets are allowed."""
    with pytest.raises(TargetRefusedError) as told:
        await OPEN.check(Secret("json://169.254.169.254/latest/meta-data"))
    assert told.value.problem is Problem.ADDRESS_REFUSED


async def test_no_file_leaves_in_a_message() -> None:
    """An option that names a file of the server is refused before anything is sent."""
    target = Secret(f"slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template={__file__}")
    failed = await _failure(CLOSED, target)
    assert failed.problem is Problem.LOCAL_ACCESS_REFUSED


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        (("dbus://", "windows://", "macosx://", "syslog://", "gnome://"), "SCHEME_REFUSED"),
        (
            ("foo://bar", f"https://example.com/{PATH}", PATH, "file:///etc/passwd"),
            "SCHEME_UNKNOWN",
        ),
        (("slack://short", "json://", "mailto://"), "MALFORMED"),
    ],
)
async def test_targets_that_cannot_be_used(targets: tuple[str, ...], problem: str) -> None:
    """The error says what to do and nothing of what was given."""
    told = await asyncio.gather(
        *(CLOSED.check(Secret(target)) for target in targets), return_exceptions=True
    )
    for error in told:
        assert isinstance(error, TargetRefusedError)
        assert error.problem == problem
        assert PATH not in f"{error!r}{error}"


async def test_kinds() -> None:
    """A target is called by its scheme; a URL as a service shows it, by that service's."""
    token = "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    kinds = {
        f"slack://{token}": "slack",
        f"https://hooks.slack.com/services/{token}": "slack",
        "JSONS://93.184.215.14/hook": "jsons",
        "tgram://123456789:abcdefg_hijklmnop/12315544/": "tgram",
    }
    found = await asyncio.gather(*(CLOSED.check(Secret(target)) for target in kinds))
    assert found == list(kinds.values())


async def test_a_notifier_comes_from_the_settings() -> None:
    """Private targets are closed unless they were opened."""
    settings = {"LIFTOS_JWT_SECRET": "s" * 32}
    opened = settings | {"LIFTOS_NOTIFICATION_PRIVATE_TARGETS": "true"}
    async with _webhook(_answer("200 OK")) as webhook:
        with pytest.raises(TargetRefusedError):
            await apprise_notifier(load(NotificationSettings, settings)).check(webhook.url)
        assert await apprise_notifier(load(NotificationSettings, opened)).check(webhook.url)
