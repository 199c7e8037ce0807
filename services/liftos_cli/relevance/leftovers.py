"""Notes of evaluations that were killed: found by their origin, and deleted by the next one.

An origin names the machine and the process that writes under it. What that process has not taken
away when it is gone, nobody else will.
"""

import os
import re
import socket
from typing import Final

from liftos_cli.figures import counted
from liftos_cli.output import say
from liftos_client.memory import MemoryClient

_PREFIX: Final = "search-evaluation"
_MOST_RUNNING: Final = 20


def origin_of(name: str) -> str:
    """Return what the notes of a run of this process are written as."""
    return f"{_machine()}/{os.getpid()}/{name}"


async def purge_leftovers(memory: MemoryClient) -> None:
    """Delete the notes of runs of this machine whose processes are gone.

    Runs of other machines are left alone: whether those still go on cannot be seen from here.

    Raises:
        LiftosError: The service refused something.
    """
    running: list[str] = []
    while len(running) < _MOST_RUNNING:
        others = "".join(f' AND NOT origin = "{origin}"' for origin in running)
        pages = memory.list_notes(filter=f'origin:"{_machine()}/*"{others}', page_size=1)
        note = await anext(aiter(pages), None)
        if note is None:
            return
        origin = note.origin
        if _is_running(origin):
            running.append(origin)
        else:
            answer = await memory.purge_records("NOTES", origin, force=True)
            left = counted(answer.purge_count, "note", "notes")
            say(f"Deleted {left} that an evaluation left which was killed ({origin}).")


def _machine() -> str:
    return f"{_PREFIX}/{re.sub(r'[^A-Za-z0-9.-]', '-', socket.gethostname())[:100]}"


def _is_running(origin: str) -> bool:
    """Tell whether the process of an origin is there, and not this one."""
    process_id = origin.removeprefix(f"{_machine()}/").partition("/")[0]
    if not process_id.isdecimal() or int(process_id) == os.getpid():
        return False
    try:
        os.kill(int(process_id), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
