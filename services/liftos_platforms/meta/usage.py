"""How much of its quotas a caller has used: counted over the last hour, told in headers."""

import json
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from liftos_platforms.meta.errors import (
    GraphError,
    app_limited,
    insights_limited,
    management_limited,
)

_WINDOW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class MetaLimits:
    """Calls in any one hour of the virtual clock.

    Attributes:
        app: Of all accounts together.
        insights: Of one account's insights, polls and results included.
        management: Of one account's other edges.
    """

    app: int = 200_000
    insights: int = 20_000
    management: int = 20_000


@dataclass(slots=True)
class UsageMeter:
    """Counts calls, refuses those beyond the limits and tells in headers how close they are."""

    limits: MetaLimits
    _app: deque[datetime] = field(default_factory=deque)
    _insights: dict[str, deque[datetime]] = field(default_factory=lambda: defaultdict(deque))
    _management: dict[str, deque[datetime]] = field(default_factory=lambda: defaultdict(deque))

    def count(self, account_id: str, now: datetime, *, is_insights: bool) -> None:
        """Count a call.

        Raises:
            GraphError: It is one too many, of the app or of the account.
        """
        _forget(self._app, now)
        if len(self._app) >= self.limits.app:
            raise app_limited(_regain(self._app, now))
        self._app.append(now)
        if not account_id:
            return
        calls = (self._insights if is_insights else self._management)[account_id]
        _forget(calls, now)
        if is_insights and len(calls) >= self.limits.insights:
            raise insights_limited(_regain(calls, now))
        if not is_insights and len(calls) >= self.limits.management:
            raise management_limited(_regain(calls, now))
        calls.append(now)

    def headers(
        self, account_id: str, *, is_insights: bool, refused: GraphError | None
    ) -> Mapping[str, str]:
        """The usage headers of an answer, also of one that was refused."""
        regain = refused.regain_minutes if refused else 0
        app = 100 if refused and refused.code == 4 else _percent(self._app, self.limits.app)
        headers = {
            "X-App-Usage": json.dumps(
                {"call_count": app, "total_cputime": app // 2, "total_time": app // 2}
            )
        }
        if not account_id:
            return headers
        is_account = regain > 0 and refused is not None and refused.code != 4
        quotas = (
            ("ads_insights", self._insights[account_id], self.limits.insights, is_insights),
            ("ads_management", self._management[account_id], self.limits.management, True),
        )
        used = []
        worst = 0
        for name, calls, limit, is_shown in quotas:
            is_hit = is_account and (name == "ads_insights") == is_insights
            percent = 100 if is_hit else _percent(calls, limit)
            worst = max(worst, percent)
            if is_shown:
                used.append(
                    {
                        "type": name,
                        "call_count": percent,
                        "total_cputime": percent // 2,
                        "total_time": percent // 2,
                        "estimated_time_to_regain_access": regain if is_hit else 0,
                        "ads_api_access_tier": "standard_access",
                    }
                )
        headers["X-Business-Use-Case-Usage"] = json.dumps({account_id: used})
        headers["X-Ad-Account-Usage"] = json.dumps(
            {
                "acc_id_util_pct": float(worst),
                "reset_time_duration": regain * 60,
                "ads_api_access_tier": "standard_access",
            }
        )
        if is_insights:
            headers["x-fb-ads-insights-throttle"] = json.dumps(
                {
                    "app_id_util_pct": app,
                    "acc_id_util_pct": worst,
                    "ads_api_access_tier": "standard_access",
                }
            )
        return headers


def _forget(calls: deque[datetime], now: datetime) -> None:
    while calls and calls[0] <= now - _WINDOW:
        calls.popleft()


def _regain(calls: deque[datetime], now: datetime) -> int:
    return max(1, int((calls[0] + _WINDOW - now) / timedelta(minutes=1)))


def _percent(calls: deque[datetime], limit: int) -> int:
    return min(100, len(calls) * 100 // limit)
