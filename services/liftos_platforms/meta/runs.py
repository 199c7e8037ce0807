"""Report runs: made by a call, done after some polls, gone after thirty days."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.meta.queries import Report

LIFETIME: Final = timedelta(days=30)
_BEHIND_COMPLETION: Final = timedelta(minutes=5)


class RunStatus(StrEnum):
    """The words of `async_status`."""

    NOT_STARTED = "Job Not Started"
    STARTED = "Job Started"
    RUNNING = "Job Running"
    COMPLETED = "Job Completed"
    FAILED = "Job Failed"
    SKIPPED = "Job Skipped"


Progress = tuple[RunStatus, int]

_NORMAL: Final[tuple[Progress, ...]] = (
    (RunStatus.NOT_STARTED, 0),
    (RunStatus.RUNNING, 40),
    (RunStatus.RUNNING, 100),
    (RunStatus.COMPLETED, 100),
)
"""What the polls see one after the other; at 100 % a run may still be running."""

_ENDS_OF_KIND: Final[dict[FaultKind, tuple[Progress, ...]]] = {
    FaultKind.RUN_STUCK_AT_START: ((RunStatus.NOT_STARTED, 0),),
    FaultKind.RUN_STUCK_AT_END: ((RunStatus.RUNNING, 40), (RunStatus.RUNNING, 100)),
    FaultKind.RUN_SKIPPED: ((RunStatus.RUNNING, 40), (RunStatus.SKIPPED, 0)),
    FaultKind.RUN_TOO_LARGE: ((RunStatus.RUNNING, 40), (RunStatus.FAILED, 60)),
    FaultKind.RUN_TIMED_OUT: ((RunStatus.RUNNING, 40), (RunStatus.FAILED, 60)),
    FaultKind.FIELD_UNREADABLE: ((RunStatus.RUNNING, 40), (RunStatus.FAILED, 60)),
}

_FAILURES: Final = {
    FaultKind.RUN_TOO_LARGE: (
        1504038,
        "Request Too Large",
        "Try a smaller date range, fewer fields or fewer objects.",
    ),
    FaultKind.FIELD_UNREADABLE: (
        1504038,
        "Request Too Large",
        "Try a smaller date range, fewer fields or fewer objects.",
    ),
    FaultKind.RUN_TIMED_OUT: (
        1504044,
        "Request Timed Out",
        "The request took too long. Please try again.",
    ),
}


@dataclass(slots=True)
class Run:
    """One report run.

    Attributes:
        made_at: When it was made; its rows are those of this moment.
        fault: What happens to it instead of completion.
        polls: How often it was asked how far it is.
    """

    run_id: str
    report: Report
    made_at: datetime
    fault: Fault | None = None
    polls: int = 0
    is_gone: bool = False
    completed_at: datetime | None = field(default=None)

    def poll(self, now: datetime) -> Progress:
        """Ask how far it is, which is what moves it on; time moves it on too."""
        progress = self.progress(now)
        self.polls += 1
        if progress[0] is RunStatus.COMPLETED and self.completed_at is None:
            self.completed_at = now
        return progress

    def progress(self, now: datetime) -> Progress:
        """How far it is."""
        kind = self.fault.kind if self.fault else None
        steps = _ENDS_OF_KIND[kind] if kind else _NORMAL
        if now - self.made_at >= _BEHIND_COMPLETION:
            return steps[-1]
        return steps[min(self.polls, len(steps) - 1)]

    def exists(self, now: datetime) -> bool:
        """Whether it can still be read."""
        return not self.is_gone and now - self.made_at < LIFETIME

    def is_complete(self, now: datetime) -> bool:
        """Whether its rows can be read: a poll has said so, or it is long done."""
        return self.completed_at is not None or (self.progress(now)[0] is RunStatus.COMPLETED)

    def node(self, now: datetime, progress: Progress) -> dict[str, object]:
        """The run as the Graph API shows it."""
        status, percent = progress
        node: dict[str, object] = {
            "id": self.run_id,
            "account_id": self.report.account_id,
            "time_ref": int(self.made_at.timestamp()),
            "async_status": status.value,
            "async_percent_completion": percent,
            "date_start": self.report.first_day.isoformat(),
            "date_stop": self.report.last_day.isoformat(),
        }
        if status is RunStatus.COMPLETED:
            node["time_completed"] = int((self.completed_at or now).timestamp())
        if status is RunStatus.FAILED and self.fault is not None:
            subcode, title, text = _FAILURES[self.fault.kind]
            node |= {
                "error_code": 2,
                "error_subcode": subcode,
                "error_message": "Service temporarily unavailable",
                "error_user_title": title,
                "error_user_msg": text,
            }
        return node
