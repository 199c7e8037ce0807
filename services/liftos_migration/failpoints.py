"""Places at which a test can let a process die, stand still or fail; inert unless a variable asks.

`LIFTOS_FAILPOINT="copy.after_chunk_commit:kill@3"` kills the process when it comes to that place
the third time. `sleep=2.5` stands still for so many seconds, `raise` fails. Several are divided by
commas; without `@` the first time is meant.
"""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

VARIABLE: Final = "LIFTOS_FAILPOINT"

NAMES: Final = frozenset(
    {
        "catch_up.before_forget",
        "copy.after_chunk_commit",
        "copy.before_chunk_commit",
        "ledger.before_step_commit",
        "ledger.after_step_commit",
        "ledger.before_state_commit",
        "ledger.after_state_commit",
        "ledger.before_undo_commit",
        "step.before_do",
        "step.after_do",
        "step.after_verify",
        "step.after_undo",
    }
)
"""All places, so that a misspelt one is found."""

_ASKED: Final = re.compile(
    r"(?P<name>[a-z_.]+):(?P<action>kill|raise|sleep=(?P<seconds>[0-9.]+))(@(?P<time>[0-9]+))?"
)


class FailpointError(Exception):
    """A place was asked to fail."""


@dataclass(slots=True)
class _Armed:
    action: str
    seconds: float
    time: int
    count: int = 0


class Failpoints:
    """The places that are asked for; counts how often each is come to."""

    def __init__(self, armed: Mapping[str, _Armed]) -> None:
        self._armed = dict(armed)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a variable asks for; nothing where it is empty.

        Raises:
            ValueError: It is not written as above, or names a place that there is none of.
        """
        armed: dict[str, _Armed] = {}
        for asked in filter(None, text.split(",")):
            match = _ASKED.fullmatch(asked)
            if match is None or match["name"] not in NAMES:
                raise ValueError(
                    f"{VARIABLE} asks for {asked!r}: write name:kill@3, name:sleep=2 or name:raise"
                    f" with a name of {', '.join(sorted(NAMES))}"
                )
            armed[match["name"]] = _Armed(
                match["action"].partition("=")[0],
                float(match["seconds"] or 0),
                int(match["time"] or 1),
            )
        return cls(armed)

    async def come_to(self, name: str) -> None:
        """Do what is asked for a place, where it is its time.

        Raises:
            FailpointError: It is to fail.
        """
        armed = self._armed.get(name)
        if armed is None:
            return
        armed.count += 1
        if armed.count != armed.time:
            return
        match armed.action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "sleep":
                await asyncio.sleep(armed.seconds)
            case _:
                raise FailpointError(f"asked to fail at {name}")


_OF_PROCESS: Final = Failpoints.parse(os.environ.get(VARIABLE, ""))


async def failpoint(name: str) -> None:
    """Come to a place; does nothing in a process that was not asked to fail.

    Raises:
        FailpointError: It is to fail.
    """
    await _OF_PROCESS.come_to(name)
