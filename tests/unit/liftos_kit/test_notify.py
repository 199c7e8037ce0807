"""Where messages may go, and what a failed one says."""

import os
import subprocess
import sys
import sysconfig
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.notify.apprise_process import RefusedError, Watch, is_allowed
from liftos_kit.notify.notifier import (
    Message,
    NotificationFailedError,
    Problem,
    Severity,
    TargetRefusedError,
)

_PRIVATE = st.one_of(
    *(
        st.ip_addresses(v=4, network=network)
        for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    ),
    *(st.ip_addresses(v=4, network=network) for network in ("100.64.0.0/10", "0.0.0.0/8")),
    st.ip_addresses(v=4, network="169.254.0.0/16"),
    st.ip_addresses(v=4, network="224.0.0.0/3"),
)


def _in_version_6(address: IPv4Address) -> list[str]:
    """All the ways in which an IPv6 address stands for an IPv4 address."""
    number = int(address)
    teredo = (0x2001_0000 << 96) | (0x0808_0808 << 64) | (number ^ 0xFFFF_FFFF)
    return [
        f"::ffff:{address}",
        f"::{address}",
        f"64:ff9b::{address}",
        str(IPv6Address((0x2002 << 112) | (number << 80) | 1)),
        str(IPv6Address(teredo)),
    ]


@given(_PRIVATE)
def test_addresses_that_are_not_public_are_refused(address: IPv4Address) -> None:
    """In whatever form an address of version 6 hides them."""
    for text in (str(address), *_in_version_6(address)):
        assert not is_allowed(text, private_allowed=False), text


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("8.8.8.8", True, True),
        ("2606:4700::1111", True, True),
        ("64:ff9b::808:808", True, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("10.1.2.3", False, True),
        ("100.64.0.1", False, True),
        ("fd00::1", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("localhost", False, False),
        ("", False, False),
    ],
)
def test_addresses(address: str, public: bool, private: bool) -> None:
    """The allowance opens loopback and private addresses, and never link-local ones."""
    assert is_allowed(address, private_allowed=False) is public
    assert is_allowed(address, private_allowed=True) is private


def test_what_the_process_may_do(tmp_path: Path) -> None:
    """Read its installation and connect to the world; no other file, program or local socket."""
    library = sysconfig.get_path("stdlib")
    watch = Watch(private_allowed=False, readable=(os.path.realpath(library),))
    link = tmp_path / "link"
    link.symlink_to("/etc/passwd")
    allowed: list[tuple[str, tuple[object, ...]]] = [
        ("open", (f"{library}/json/__init__.py", "r", os.O_RDONLY)),
        ("open", (os.fsencode(f"{library}/json/__init__.py"), "r", os.O_RDONLY)),
        ("open", (os.devnull, "w", os.O_WRONLY)),
        ("open", (3, "r", os.O_RDONLY)),
        ("socket.connect", (None, ("8.8.8.8", 443))),
        ("socket.sendmsg", (None, None)),
        ("import", ("json",)),
    ]
    for event, arguments in allowed:
        watch.see(event, arguments)
    assert not watch.problem
    refused: list[tuple[str, tuple[object, ...], str]] = [
        ("open", ("/etc/passwd", "r", os.O_RDONLY), "LOCAL_ACCESS_REFUSED"),
        ("open", (str(link), "r", os.O_RDONLY), "LOCAL_ACCESS_REFUSED"),
        ("open", (f"{library}/../../../etc/passwd", "r", os.O_RDONLY), "LOCAL_ACCESS_REFUSED"),
        ("open", (f"{library}-other/x", "r", os.O_RDONLY), "LOCAL_ACCESS_REFUSED"),
        ("open", (f"{library}/x.py", "w", os.O_WRONLY | os.O_CREAT), "LOCAL_ACCESS_REFUSED"),
        ("subprocess.Popen", ("sh", ["sh"], None, None), "LOCAL_ACCESS_REFUSED"),
        ("os.system", (b"true",), "LOCAL_ACCESS_REFUSED"),
        ("socket.connect", (None, ("127.0.0.1", 80)), "ADDRESS_REFUSED"),
        ("socket.connect", (None, ("::1", 80, 0, 0)), "ADDRESS_REFUSED"),
        ("socket.connect", (None, "/run/docker.sock"), "ADDRESS_REFUSED"),
        ("socket.sendto", (None, ("10.0.0.1", 514)), "ADDRESS_REFUSED"),
    ]
    for event, arguments, problem in refused:
        watch.problem = ""
        with pytest.raises(RefusedError):
            watch.see(event, arguments)
        assert watch.problem == problem


def test_the_names_of_events_are_those_of_the_interpreter() -> None:
    """An interpreter that is watched refuses what it is asked for."""
    program = """
import os, socket, subprocess, sys
from liftos_kit.notify.apprise_process import RefusedError, Watch
sys.addaudithook(Watch(private_allowed=False).see)
def refused(action):
    try:
        action()
    except RefusedError:
        return True
    except OSError:
        return False
    return False
local = socket.socket(socket.AF_UNIX)
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
stream = socket.socket()
print(
    refused(lambda: stream.connect(("127.0.0.1", 9))),
    refused(lambda: stream.connect_ex(("127.0.0.1", 9))),
    refused(lambda: local.connect("/dev/log")),
    refused(lambda: datagram.sendto(b"x", ("127.0.0.1", 9))),
    refused(lambda: datagram.sendmsg([b"x"], [], 0, ("127.0.0.1", 9))),
    refused(lambda: open("/etc/passwd")),
    refused(lambda: os.open("/etc/passwd", os.O_RDONLY)),
    refused(lambda: subprocess.run(["true"])),
    refused(lambda: os.system("true")),
    refused(lambda: os.posix_spawn("/bin/true", ["true"], {})),
    refused(lambda: os.fork()),
    refused(lambda: os.execv("/bin/true", ["true"])),
)
"""
    said = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3] / "services",
    ).stdout
    assert said.split() == ["True"] * 12


@pytest.mark.parametrize(
    ("title", "body"),
    [("", "x"), ("x", ""), ("a\nb", "x"), ("x" * 251, "x"), ("x", "x" * 10_001), ("a\x00", "x")],
)
def test_wrong_messages(title: str, body: str) -> None:
    """A title is one line, and neither is empty or too long."""
    with pytest.raises(ValueError, match=r"title|body"):
        Message(title, body, Severity.INFO)


@pytest.mark.parametrize("problem", Problem)
def test_every_problem_says_what_to_do(problem: Problem) -> None:
    """As a sentence that begins with the target."""
    refused, failed = TargetRefusedError(problem), NotificationFailedError(problem)
    assert str(refused) == str(failed) == f"The target {refused.remedy}."
    assert ";" in refused.remedy
    assert (refused.problem, failed.problem, failed.http_status) == (problem, problem, None)


@pytest.mark.parametrize(
    ("problem", "status", "passes"),
    [
        (Problem.UNREACHABLE, None, True),
        (Problem.TIMED_OUT, None, True),
        (Problem.FAILED, None, True),
        (Problem.REJECTED, None, True),
        (Problem.REJECTED, 401, False),
        (Problem.REJECTED, 429, True),
        (Problem.REJECTED, 503, True),
        (Problem.ADDRESS_REFUSED, None, False),
        (Problem.MALFORMED, None, False),
    ],
)
def test_what_may_pass(problem: Problem, status: int | None, passes: bool) -> None:
    """Trouble of the moment may; a wrong target stays wrong."""
    failed = NotificationFailedError(problem, http_status=status)
    assert failed.may_pass is passes
    assert (f"HTTP status {status}" in str(failed)) is (status is not None)
