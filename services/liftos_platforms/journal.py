"""Every call that came, for assertions: what was asked, how it ended, how many at once."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256

from liftos_platforms.faults import Call, FaultKind
from liftos_platforms.truth import Platform


@dataclass(frozen=True, slots=True)
class Entry:
    """One call.

    Attributes:
        sequence: Its place among all calls of all platforms, from 1.
        at: When it came, by the virtual clock.
        method: HTTP method, or `rpc`.
        credential: A mark of the credential (`credential_mark`), never the credential.
        header_names: Names of the headers that came, lower case, sorted.
        status: HTTP status or gRPC code name, as text; empty while it runs or where none was sent.
        error: The platform's own error code, as `80004/2446079`; empty where none.
        fault: The kind of fault that struck it.
        rows: How many rows it answered.
        is_poll: Whether it only asked if a job is done.
        concurrency: How many calls of its platform ran when it came, itself included.
        account_concurrency: The same for its account.
    """

    sequence: int
    at: datetime
    call: Call
    method: str
    credential: str
    header_names: tuple[str, ...]
    concurrency: int
    account_concurrency: int
    status: str = ""
    error: str = ""
    fault: FaultKind | None = None
    rows: int = 0
    is_poll: bool = False

    def as_json(self) -> dict[str, object]:
        """The entry for the control server."""
        call = self.call
        return {
            "sequence": self.sequence,
            "at": self.at.isoformat(),
            "platform": call.platform.value,
            "endpoint": call.endpoint,
            "account_id": call.account_id,
            "first_day": call.first_day and call.first_day.isoformat(),
            "last_day": call.last_day and call.last_day.isoformat(),
            "parameters": dict(call.parameters),
            "method": self.method,
            "credential": self.credential,
            "header_names": list(self.header_names),
            "status": self.status,
            "error": self.error,
            "fault": self.fault and self.fault.value,
            "rows": self.rows,
            "is_poll": self.is_poll,
            "concurrency": self.concurrency,
            "account_concurrency": self.account_concurrency,
        }


@dataclass(slots=True)
class Outcome:
    """What a face fills in while it handles a call."""

    status: str = ""
    error: str = ""
    fault: FaultKind | None = None
    rows: int = 0
    is_poll: bool = False


@dataclass(slots=True)
class Journal:
    """The calls of all platforms, in the order in which they came."""

    _entries: list[Entry] = field(default_factory=list)
    _running: Counter[tuple[Platform, str]] = field(default_factory=Counter)

    @contextmanager
    def record(
        self,
        call: Call,
        *,
        at: datetime,
        method: str,
        credential: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Outcome]:
        """Record a call that runs inside; its outcome is what stands in the yielded value."""
        platform, account = (call.platform, ""), (call.platform, call.account_id)
        self._running[platform] += 1
        if call.account_id:
            self._running[account] += 1
        place = len(self._entries)
        entry = Entry(
            sequence=place + 1,
            at=at,
            call=call,
            method=method,
            credential=credential_mark(credential),
            header_names=tuple(sorted({name.lower() for name in headers or {}})),
            concurrency=self._running[platform],
            account_concurrency=self._running[account] if call.account_id else 0,
        )
        self._entries.append(entry)
        outcome = Outcome()
        try:
            yield outcome
        finally:
            self._running[platform] -= 1
            if call.account_id:
                self._running[account] -= 1
            if place < len(self._entries) and self._entries[place] is entry:
                self._entries[place] = replace(
                    entry,
                    status=outcome.status,
                    error=outcome.error,
                    fault=outcome.fault,
                    rows=outcome.rows,
                    is_poll=outcome.is_poll,
                )

    def calls(
        self,
        platform: Platform | None = None,
        *,
        endpoint: str = "",
        account_id: str = "",
        with_polls: bool = False,
    ) -> tuple[Entry, ...]:
        """The calls that fit, in order; polls of a job only where asked for."""
        return tuple(
            entry
            for entry in self._entries
            if platform in (None, entry.call.platform)
            and endpoint in {"", entry.call.endpoint}
            and account_id in {"", entry.call.account_id}
            and (with_polls or not entry.is_poll)
        )

    def polls(self, platform: Platform | None = None) -> tuple[Entry, ...]:
        """The calls that only asked whether a job is done."""
        return tuple(e for e in self.calls(platform, with_polls=True) if e.is_poll)

    def maximum_concurrency(self, platform: Platform, account_id: str = "") -> int:
        """The most calls that ran at once, of a platform or of one account."""
        entries = self.calls(platform, account_id=account_id, with_polls=True)
        if account_id:
            return max((entry.account_concurrency for entry in entries), default=0)
        return max((entry.concurrency for entry in entries), default=0)

    def clear(self) -> None:
        """Forget everything that came so far."""
        self._entries.clear()


def credential_mark(credential: str) -> str:
    """Eight hex digits that tell two credentials apart and give none away."""
    return sha256(credential.encode()).hexdigest()[:8] if credential else ""
