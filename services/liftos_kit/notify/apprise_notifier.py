"""The notifier that reaches everything apprise knows, one short-lived process a message.

Messages go straight to their targets, never through a proxy: what is behind a proxy could not be
checked from here.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from liftos_kit.notify.notifier import (
    Message,
    NotificationFailedError,
    Problem,
    Severity,
    TargetRefusedError,
)
from liftos_kit.redaction import redact_text
from liftos_kit.secrets.secret import Secret
from liftos_kit.settings import NotificationSettings

_PROGRAM: Final = Path(__file__).with_name("apprise_process.py")
# The process needs about 60 MB and, until it sends, one core.
_MAXIMUM_PROCESSES: Final = 4
_GRACE_SECONDS: Final = 5.0
_KEPT_VARIABLES: Final = ("LD_LIBRARY_PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE")
_TYPES: Final = MappingProxyType(
    {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}
)


@dataclass(frozen=True, slots=True)
class _Answer:
    kind: str = ""
    problem: Problem | None = None
    http_status: int | None = None


class AppriseNotifier:
    """Sends messages with apprise.

    Args:
        timeout_seconds: How long one check or message may take, once it is its turn.
        private_targets: Whether targets may have loopback and private addresses.
    """

    def __init__(self, *, timeout_seconds: float, private_targets: bool) -> None:
        self._timeout_seconds = timeout_seconds
        self._private_targets = private_targets
        self._turn = asyncio.Semaphore(_MAXIMUM_PROCESSES)

    async def check(self, target_url: Secret) -> str:
        """Return the kind of a target that can be sent to, such as `slack`; sends nothing.

        Raises:
            TargetRefusedError: It cannot be sent to.
            NotificationFailedError: The check itself broke or took too long.
        """
        answer = await self._ask(target_url, None)
        if answer.problem in {Problem.TIMED_OUT, Problem.FAILED}:
            raise NotificationFailedError(answer.problem)
        if answer.problem is not None:
            raise TargetRefusedError(answer.problem)
        return answer.kind

    async def send(self, target_url: Secret, message: Message) -> None:
        """Send one message once; known secrets are taken out of it.

        Raises:
            NotificationFailedError: It did not get there, or that is not known.
        """
        body = f"{message.body}\n\n{message.link}" if message.link else message.body
        answer = await self._ask(
            target_url,
            {
                "title": redact_text(message.title),
                "body": redact_text(body),
                "notify_type": _TYPES[message.severity],
            },
        )
        if answer.problem is not None:
            raise NotificationFailedError(answer.problem, http_status=answer.http_status)

    async def _ask(self, target_url: Secret, message: Mapping[str, str] | None) -> _Answer:
        request = json.dumps(
            {
                "target_url": target_url.reveal(),
                "message": message,
                "private_allowed": self._private_targets,
                "timeout_seconds": self._timeout_seconds + _GRACE_SECONDS,
            }
        )
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    output = await _run(request.encode())
            except TimeoutError:
                return _Answer(problem=Problem.TIMED_OUT)
            # No memory, processes or descriptors; or it ended before it was asked, whose pipe
            # the event loop then calls closed.
            except (OSError, RuntimeError):
                return _Answer(problem=Problem.FAILED)
        return _parsed(output)


def apprise_notifier(settings: NotificationSettings) -> AppriseNotifier:
    """Return the notifier that the settings describe."""
    return AppriseNotifier(
        timeout_seconds=settings.notification_timeout_seconds,
        private_targets=settings.notification_private_targets,
    )


def _parsed(output: bytes) -> _Answer:
    try:
        answer = json.loads(output)
    except ValueError:  # it broke before it could answer
        return _Answer(problem=Problem.FAILED)
    if "problem" in answer:
        return _Answer(problem=Problem(answer["problem"]), http_status=answer.get("http_status"))
    return _Answer(kind=answer["kind"])


async def _run(request: bytes) -> bytes:
    """Return what the process answers to a request; it has ended then, come what may."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-B", str(_PROGRAM)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={
            **{name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
            "HOME": os.devnull,
            "LANG": "C.UTF-8",
        },
    )
    try:
        output, _ = await process.communicate(request)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return output
