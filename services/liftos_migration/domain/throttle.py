"""How hard a migration may work, and what slows it down."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from liftos_migration.domain.migrations import Throttle

_OLD_TRANSACTION_SECONDS: Final = 60.0
_STOP_FACTOR: Final = 2
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """How the source is doing; None where it cannot be found out."""

    source_latency_seconds: float | None = None
    replica_lag_seconds: float | None = None
    retained_bytes: int = 0
    oldest_transaction_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from limits and load.

    Attributes:
        reason: What limit is passed, with its value; empty where none is.
        slows: Work goes on more slowly.
        stops: It does not go on.
    """

    reason: str = ""
    slows: bool = False
    stops: bool = False


def judge(limits: Throttle, load: Load, *, copies: bool) -> Verdict:
    """Say what follows; the hardest limit first.

    Args:
        limits: What must not be passed.
        load: What is.
        copies: Whether the work is copying. What catches up is what lets the source forget changes:
            it neither stops nor slows down because there are many.
    """
    return next(_verdicts(limits, load, copies=copies), Verdict())


def _verdicts(limits: Throttle, load: Load, *, copies: bool) -> Iterator[Verdict]:
    if limits.maximum_share <= 0:
        yield Verdict("paused: the share of time is 0", stops=True)
    kept, most = load.retained_bytes, limits.maximum_retained_bytes
    if kept > most:
        words = f"the source keeps {_size(kept)} of changes for us > {_size(most)}"
        yield Verdict(words, slows=copies, stops=copies and kept > _STOP_FACTOR * most)
    latency, most_latency = load.source_latency_seconds, _seconds(limits.maximum_source_latency)
    if latency is not None and most_latency is not None and latency > most_latency:
        words = f"source p95 {latency * 1e3:.0f} ms > {most_latency * 1e3:.0f} ms"
        yield Verdict(words, slows=True)
    lag, most_lag = load.replica_lag_seconds, _seconds(limits.maximum_replica_lag)
    if lag is not None and most_lag is not None and lag > most_lag:
        yield Verdict(f"replica lag {lag:.1f} s > {most_lag:.1f} s", slows=True)
    seconds = load.oldest_transaction_seconds
    if seconds > _OLD_TRANSACTION_SECONDS:
        yield Verdict(f"a transaction of the source has been open for {seconds:.0f} s")


def next_pause(pause: float, verdict: Verdict) -> float:
    """Return how long to wait after the next piece of work.

    Args:
        pause: After the last one.
        verdict: What was found since.
    """
    if verdict.slows:
        return min(max(_FIRST_PAUSE_SECONDS, pause * 2), _LONGEST_PAUSE_SECONDS)
    return 0.0 if pause <= _FIRST_PAUSE_SECONDS else pause / 2


def _seconds(limit: timedelta | None) -> float | None:
    return None if limit is None else limit.total_seconds()


def _size(count: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 10_000:
            return f"{count:,} {unit}"
        count //= 1024
    return f"{count:,} GiB"
