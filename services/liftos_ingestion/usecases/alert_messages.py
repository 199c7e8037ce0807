"""What people are told of an alert."""

from typing import Final

from liftos_ingestion.alert_ports import ToldAlert
from liftos_ingestion.domain.alerts import AlertKind, AlertSeverity, one_line
from liftos_kit.notify.notifier import Message, Severity

_SEVERITIES: Final = {
    AlertSeverity.INFO: Severity.INFO,
    AlertSeverity.WARNING: Severity.WARNING,
    AlertSeverity.CRITICAL: Severity.CRITICAL,
}
_TITLES: Final = {
    AlertKind.RUN_FAILED: "Run failed",
    AlertKind.CREDENTIALS_REJECTED: "Credential rejected",
    AlertKind.CREDENTIALS_EXPIRING: "Credential ends soon",
    AlertKind.QUOTA_EXHAUSTED: "Limit reached",
    AlertKind.DATA_LATE: "Data is late",
    AlertKind.RECONCILIATION_FAILED: "Sums differ",
    AlertKind.DEAD_LETTERS_GROWING: "Rows are refused",
    AlertKind.VERSION_RETIRING: "API version ends soon",
}


def message_of(org: str, alert: ToldAlert) -> Message:
    """Return what a person is told of an alert."""
    title = f"{_TITLES[alert.kind]} ({org})"
    name = f"orgs/{org}/alerts/{alert.alert.hex}"
    first = f"{alert.first_time:%Y-%m-%d %H:%M} UTC"
    if alert.resolved:
        body = f"No longer so: {alert.summary}\n\nIt was first seen at {first}.\n{name}"
        return Message(one_line(f"Resolved: {title}"), body, Severity.INFO)
    seen = f"Seen {alert.occurrence_count} times since {first}."
    if alert.occurrence_count == 1:
        seen = f"Seen at {first}."
    body = f"{alert.summary}\n\n{alert.remedy}\n\n{seen}\n{name}"
    return Message(one_line(title), body, _SEVERITIES[alert.severity])
