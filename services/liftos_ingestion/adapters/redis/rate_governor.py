"""The limits of platforms in Redis, where all workers of all machines share them."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from liftos_ingestion.adapters.redis.rate_limits_lua import RATE_LIMITS_LUA
from liftos_ingestion.domain.rate_limits import (
    LEASE_CHECK_SECONDS,
    PLACE_SECONDS,
    SPREAD_SECONDS,
    Limit,
    Observation,
    Priority,
    RateKey,
    RateScope,
    Renewal,
    asked_by,
    caller_of,
    limits_to_pass,
    parked_reason,
)
from liftos_ingestion.quota_ports import Admitted, Parked, QuotaState, ordered_quotas
from liftos_kit.core.errors import StoreUnavailableError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = 1_000_000


class RedisRateGovernor:
    """RateGovernor on Redis 6.2 or later, or Valkey; every method is one round trip.

    Redis has to keep what it is given (`maxmemory-policy noeviction`): a limit whose count is lost
    starts anew, and then only the platform's refusals hold it.

    Args:
        redis: A client that does not decode responses.
        clock_command: Redis command that answers seconds and microseconds since 1970.
    """

    def __init__(self, redis: Redis, *, clock_command: Sequence[str] = ("TIME",)) -> None:
        self._clock_command = list(clock_command)
        self._script = redis.register_script(RATE_LIMITS_LUA)

    async def admit(
        self, limits: Sequence[Limit], *, caller: str, priority: Priority
    ) -> Admitted | Parked:
        """Take a unit of every limit, or of none."""
        asked = limits_to_pass(limits)
        asker = asked_by(asked)
        call, caller = uuid.uuid4().hex, caller_of(asker[0], caller)
        now, *refusal = await self._run(
            "admit",
            [
                {
                    **_spoken(limit),
                    "ceiling": limit.ceiling(priority),
                    "member": _member(limit, call, caller),
                }
                for limit in asked
            ],
            asker=asker,
            caller=caller,
            priority=priority,
        )
        if not refusal:
            return Admitted(call, caller, asked, _time(now))
        until, number, told = refusal
        limit = asked[number - 1]
        return Parked(
            until=_time(until),
            wait_seconds=(until - now) / _SECOND,
            key=limit.key,
            reason=parked_reason(limit, priority, told.decode()),
        )

    async def renew(self, admitted: Admitted) -> bool:
        """Hold its leased units for another lease; False where one was lost already."""
        leased = [limit for limit in admitted.limits if limit.renewal is Renewal.LEASED]
        (held,) = await self._run(
            "renew",
            [{**_spoken(limit), "member": admitted.caller} for limit in leased],
            asker=asked_by(admitted.limits),
            caller=admitted.caller,
        )
        return bool(held)

    async def release(self, admitted: Admitted, *, sent: bool = True) -> None:
        """Give leased units back, and where nothing was sent to the platform, all others too."""
        back = [
            {"name": limit.name, "member": _member(limit, admitted.call, admitted.caller)}
            for limit in admitted.limits
            if limit.renewal is Renewal.LEASED or not sent
        ]
        if back:
            await self._run("release", back, asker=asked_by(admitted.limits))

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Take in what the platform told, blocks included."""
        if not observations:
            return
        await self._run(
            "observe",
            [
                {
                    **_spoken(seen.limit),
                    "used": seen.used,
                    "reset": round(seen.reset_seconds * _SECOND),
                    "reason": seen.reason,
                }
                for seen in observations
            ],
            asker=asked_by([seen.limit for seen in observations]),
        )

    async def quotas(self, org: str, platform: str) -> Sequence[QuotaState]:
        """List limits that are in use, nearest to their end first."""
        _, rows = await self._run("quotas", [], asker=(org, platform), callers=caller_of(org, ""))
        return ordered_quotas([_state(row) for row in rows])

    async def _run(
        self,
        operation: str,
        limits: Sequence[Mapping[str, object]],
        *,
        asker: tuple[str, str],
        **more: object,
    ) -> list[Any]:
        org, platform = asker
        kept_under = f"liftos:rate:{{{platform}}}"
        ask = {
            "operation": operation,
            "platform": kept_under,
            "clock": self._clock_command,
            "limits": limits,
            "place": round(PLACE_SECONDS * _SECOND),
            "spread": round(SPREAD_SECONDS * _SECOND),
            "lease_check": round(LEASE_CHECK_SECONDS * _SECOND),
            **more,
        }
        try:
            answer: list[Any] = await self._script(
                keys=[f"{kept_under}:{org}"], args=[json.dumps(ask)]
            )
        except (RedisError, OSError) as error:
            raise StoreUnavailableError("redis") from error
        return answer


def _spoken(limit: Limit) -> dict[str, object]:
    return {
        "name": limit.name,
        "renewal": limit.renewal,
        "window": round(limit.window_seconds * _SECOND),
        "about": json.dumps(asdict(limit), separators=(",", ":")),
    }


def _member(limit: Limit, call: str, caller: str) -> str:
    return caller if limit.renewal is Renewal.LEASED else call


def _state(row: Sequence[Any]) -> QuotaState:
    about, used, reset, shut, reason, parked, observed = row
    spoken = json.loads(about)
    key = spoken.pop("key")
    limit = Limit(
        key=RateKey(**key | {"scope": RateScope(key["scope"])}),
        unit=spoken["unit"],
        capacity=spoken["capacity"],
        window_seconds=spoken["window_seconds"],
        renewal=Renewal(spoken["renewal"]),
        kept=tuple(spoken["kept"]),
    )
    return QuotaState(
        limit=limit,
        used=float(used),
        reset_time=_time(reset) if reset else None,
        blocked_until_time=_time(shut) if shut else None,
        reason=reason.decode(),
        parked_count=parked,
        observe_time=_time(int(observed)) if int(observed) else None,
    )


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
