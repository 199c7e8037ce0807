"""What Memory needs from the outside, and the values that travel there and back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WriteContext:
    """Who writes, and behind which fence.

    Attributes:
        origin: What writes, such as a run or a migration step.
        fence_scope: Fence that the write belongs to; empty is none but the org's own.
        fencing_epoch: Epoch of the writer within the scope; None where it has none.
    """

    origin: str
    fence_scope: str = ""
    fencing_epoch: int | None = None
