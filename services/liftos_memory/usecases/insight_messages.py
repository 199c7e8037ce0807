"""What people are told of insights."""

from collections.abc import Sequence
from typing import Final

from liftos_kit.notify.notifier import Message, Severity
from liftos_memory.insight_ports import StoredInsight, ToldInsights

_TOLD_AT_ONCE: Final = 10
_CRITICAL_SEVERITY: Final = 60.0


def message_of(org: str, told: ToldInsights) -> Message:
    """Return what a person is told: what was found, most severe first, and what has ended."""
    if not told.found:
        return Message(
            f"Resolved: {_count(told.resolved)} ({org})",
            _lines(org, told.resolved),
            Severity.INFO,
        )
    body = _lines(org, told.found)
    if told.resolved:
        body = f"{body}\n\nNo longer so:\n\n{_lines(org, told.resolved)}"
    worst = told.found[0].insight.severity
    severity = Severity.CRITICAL if worst >= _CRITICAL_SEVERITY else Severity.WARNING
    return Message(f"{_count(told.found)} ({org})", body, severity)


def _count(insights: Sequence[StoredInsight]) -> str:
    return "1 insight" if len(insights) == 1 else f"{len(insights)} insights"


def _lines(org: str, insights: Sequence[StoredInsight]) -> str:
    shown = [
        f"{it.insight.summary}\norgs/{org}/insights/{it.insight.insight_id}"
        for it in insights[:_TOLD_AT_ONCE]
    ]
    if len(insights) > _TOLD_AT_ONCE:
        shown.append(f"… and {len(insights) - _TOLD_AT_ONCE} more: liftos insights list")
    return "\n\n".join(shown)
