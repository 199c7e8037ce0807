"""The port that messages to people go through, and how it fails."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from liftos_kit.secrets.secret import Secret

_MAXIMUM_TITLE_CHARACTERS: Final = 250
_MAXIMUM_BODY_CHARACTERS: Final = 10_000


class Severity(StrEnum):
    """How soon a person should look."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


@dataclass(frozen=True, slots=True)
class Message:
    """What a person is told.

    Attributes:
        title: One line, 1 to 250 characters.
        body: Plain text, 1 to 10,000 characters.
        severity: How soon to look.
        link: Where to read on; empty for nowhere.

    Raises:
        ValueError: The title or body is empty, too long, or the title is not one line.
    """

    title: str
    body: str
    severity: Severity
    link: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.title) <= _MAXIMUM_TITLE_CHARACTERS or not self.title.isprintable():
            raise ValueError("a title is one line of 1 to 250 characters")
        if not 1 <= len(self.body) <= _MAXIMUM_BODY_CHARACTERS:
            raise ValueError("a body has 1 to 10,000 characters")


class Problem(StrEnum):
    """Why a target cannot be used, or a message did not get there."""

    SCHEME_UNKNOWN = "SCHEME_UNKNOWN"
    """The target is of no known kind."""
    SCHEME_REFUSED = "SCHEME_REFUSED"
    """The target would act on the server itself, or needs what is not installed there."""
    MALFORMED = "MALFORMED"
    """The kind is known, and the rest of the URL is not what it needs."""
    ADDRESS_REFUSED = "ADDRESS_REFUSED"
    """The target is at an address that is not public."""
    LOCAL_ACCESS_REFUSED = "LOCAL_ACCESS_REFUSED"
    """The target asks for a file or a program of the server."""
    REJECTED = "REJECTED"
    """The target answered, and did not take the message."""
    UNREACHABLE = "UNREACHABLE"
    """The target could not be connected to."""
    TIMED_OUT = "TIMED_OUT"
    """The target took longer than allowed."""
    FAILED = "FAILED"
    """Sending broke on our side."""


_REMEDIES: Final = {
    Problem.SCHEME_UNKNOWN: (
        "is of no known kind; begin with one such as slack://, discord:// or mailto://, and write"
        " jsons://HOST/PATH for a webhook"
    ),
    Problem.SCHEME_REFUSED: (
        "is of a kind that works on a desktop only or is not installed; choose another kind"
    ),
    Problem.MALFORMED: "lacks a part that its kind needs; copy the URL from the target's own page",
    Problem.ADDRESS_REFUSED: (
        "is at a loopback, private or reserved address; use a public one, or have the operator set"
        " LIFTOS_NOTIFICATION_PRIVATE_TARGETS"
    ),
    Problem.LOCAL_ACCESS_REFUSED: (
        "asks for a file or program of the server; take out options such as template="
    ),
    Problem.REJECTED: "did not take the message; check its host, its token, and where it may post",
    Problem.UNREACHABLE: "cannot be reached; check its host and port, and its certificate",
    Problem.TIMED_OUT: "did not answer in time; check that it is up",
    Problem.FAILED: (
        "could not be sent to; its answer was too large, or the server lacks memory or processes"
    ),
}


class TargetRefusedError(Exception):
    """Nothing can be sent to a target.

    Attributes:
        problem: Why.
        remedy: The predicate of a sentence that says what to do, without any part of the URL.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.remedy = _REMEDIES[problem]
        super().__init__(f"The target {self.remedy}.")


class NotificationFailedError(Exception):
    """A message did not reach its target.

    Attributes:
        problem: Why.
        http_status: What the target answered, None where it did not or speaks no HTTP.
    """

    def __init__(self, problem: Problem, *, http_status: int | None = None) -> None:
        answer = "" if http_status is None else f" (HTTP status {http_status})"
        super().__init__(f"The target {_REMEDIES[problem]}{answer}.")
        self.problem = problem
        self.http_status = http_status

    @property
    def may_pass(self) -> bool:
        """Whether the same message may get through later, without a change to the target."""
        if self.problem is Problem.REJECTED:
            # Without a status the target is a mail server, say, and may just have been down.
            status = self.http_status
            return status is None or status == 429 or status >= 500
        return self.problem in {Problem.UNREACHABLE, Problem.TIMED_OUT, Problem.FAILED}


class Notifier(Protocol):
    """Sends messages to targets, each given by a URL that may hold secrets."""

    async def check(self, target_url: Secret) -> str:
        """Return the kind of a target that can be sent to, such as `slack`; sends nothing.

        Raises:
            TargetRefusedError: It cannot be sent to.
            NotificationFailedError: The check itself broke or took too long.
        """
        ...

    async def send(self, target_url: Secret, message: Message) -> None:
        """Send one message once.

        Raises:
            NotificationFailedError: It did not get there, or that is not known.
        """
        ...
