"""What can go wrong with the embedded stack, and what to do about it.

LocalStackError
├── AlreadyRunningError      another stack runs on the data directory
├── DataDirectoryError       the data directory cannot be used
├── MissingProgramError      a binary the stack needs is not installed
├── PortTakenError           somebody else listens on a port
└── StackStartError          a process did not become healthy
"""

from pathlib import Path


class LocalStackError(Exception):
    """Base of every error of the embedded stack."""


class AlreadyRunningError(LocalStackError):
    """Another stack runs on this data directory."""

    def __init__(self, data_dir: Path, supervisor_pid: int | None) -> None:
        owner = f"process {supervisor_pid}" if supervisor_pid else "another process"
        super().__init__(
            f"{data_dir} is in use by {owner}; stop it with `liftos down --data-dir {data_dir}` "
            "or choose another data directory"
        )
        self.data_dir = data_dir
        self.supervisor_pid = supervisor_pid


class DataDirectoryError(LocalStackError):
    """The data directory cannot be used; `advice` says how to go on."""

    def __init__(self, data_dir: Path, reason: str, *, advice: str) -> None:
        super().__init__(f"{data_dir}: {reason}; {advice}")
        self.data_dir = data_dir
        self.reason = reason
        self.advice = advice


class MissingProgramError(LocalStackError):
    """A program the stack runs is not on this machine."""

    def __init__(self, program: str, *, advice: str) -> None:
        super().__init__(f"{program} is missing; {advice}")
        self.program = program
        self.advice = advice


class PortTakenError(LocalStackError):
    """A port the stack wants is taken; `owner` names the process where it may be seen."""

    def __init__(self, name: str, port: int, owner: str) -> None:
        super().__init__(
            f"port {port} for {name} is taken by {owner}; stop that process or let the stack "
            "choose free ports with `--ports auto`"
        )
        self.name = name
        self.port = port
        self.owner = owner


class StackStartError(LocalStackError):
    """A process of the stack did not become healthy; everything was stopped again."""

    def __init__(
        self, process: str, reason: str, *, log_file: Path, log_tail: tuple[str, ...]
    ) -> None:
        lines = "".join(f"\n    {line}" for line in log_tail)
        super().__init__(f"{process}: {reason}; see {log_file}{lines}")
        self.process = process
        self.reason = reason
        self.log_file = log_file
        self.log_tail = log_tail
