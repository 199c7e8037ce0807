"""A secret that a test run has written down is found, wherever and however it stands."""

import base64
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.deploy.chart import REPOSITORY
from tests.secret_scan import scan

VALUE = "Zx9+planted/secret&7"
KNOWN = {VALUE: "LIFTOS_SERVICE_PASSWORD"}


@pytest.fixture
def planted() -> Iterator[Path]:
    """A folder that is gone when the run's own is searched."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        quote(VALUE, safe=""),
        json.dumps({"it": VALUE}),
        base64.b64encode(VALUE.encode()).decode(),
        base64.urlsafe_b64encode(f"user:{VALUE}".encode()).decode(),
        base64.b64encode(f"u:{VALUE} and more".encode()).decode(),
        base64.b64encode(f"me:{VALUE}".encode()).decode(),
    ],
)
@pytest.mark.parametrize("before", range(8))
def test_a_known_secret_is_found_in_every_form(planted: Path, form: str, before: int) -> None:
    """At any place of a line, as itself, in a URL, in JSON and in base64."""
    file = planted / "log" / "worker.log"
    file.parent.mkdir()
    file.write_text(f"first\n{'.' * before}{form}, and on\n")
    found = scan(planted, KNOWN)
    assert [(leak.path, leak.line, leak.kind) for leak in found.leaks] == [
        (file, 2, "LIFTOS_SERVICE_PASSWORD")
    ]
    assert VALUE not in repr(found)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("authorization: Bearer abcdefghijklmnop.qrstuv", "bearer token"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJub2JvZHkifQ.c2lnbmF0dXJl", "JSON web token"),
        ("key pk_0123456789abcdef0123", "Klaviyo key"),
        ("?access_token=EAAB0123456789abcdef0123456789", "Meta token"),
        ("'ya29.a0AfH6SMBx-0123456789'", "Google access token"),
        ("1//0123456789abcdefghij-kl", "Google refresh token"),
        ("GOCSPX-0123456789", "Google client secret"),
        ("-----BEGIN RSA PRIVATE KEY-----", "private key"),
        ("postgresql://liftos:hunter2hunter2@127.0.0.1:5432/liftos", "password of a URL"),
        ("redis://:hunter2hunter2@127.0.0.1:6379/0", "password of a URL"),
    ],
)
def test_an_unknown_secret_is_found_by_its_shape(planted: Path, text: str, kind: str) -> None:
    """What issuers give out is recognised though nobody has named it."""
    (planted / "spans.jsonl").write_text(f"nothing\n{text}\n")
    assert [(leak.line, leak.kind) for leak in scan(planted, {}).leaks] == [(2, kind)]


def test_what_is_redacted_and_what_is_kept_is_no_leak(planted: Path) -> None:
    """Marks, words that only look alike, and the files that hold secrets by design are passed."""
    stack = planted / "stack"
    (stack / "redis").mkdir(parents=True)
    (stack / "secrets.json").write_text(json.dumps({"redis_password": VALUE}))
    (stack / "redis" / "valkey.conf").write_text(VALUE)
    (planted / "tls.key").write_text("-----BEGIN PRIVATE KEY-----")
    (planted / "worker.log").write_text(
        "redis://:[redacted]@host Bearer [redacted] AAEAAB0123456789abcdef0123456789 http://host:1/@"
    )
    found = scan(planted, KNOWN)
    assert (found.files, found.leaks) == (1, ())


_TESTS = {
    "conftest.py": """
from tests.secret_watch import SecretWatch

def pytest_configure(config):
    config.pluginmanager.register(SecretWatch(config, watched=("test_",)))
""",
    "test_one.py": """
import subprocess, sys

def test_a_process_that_keeps_its_secret():
    environment = {"LIFTOS_REDIS_URL": "redis://:kept-for-itself@host/0"}
    subprocess.run([sys.executable, "-c", "pass"], env=environment, check=True)
""",
    "test_two.py": """
import json, os, subprocess, sys
from liftos_kit.redaction import KnownSecrets

def test_a_process_that_tells_its_secret(tmp_path):
    environment = {
        "LIFTOS_JWT_SECRET": "told-to-everybody-1",
        "LIFTOS_SECRET_KEYS": "k1:told-to-everybody-2,k2:told-to-everybody-3",
        "LIFTOS_REDIS_URL": "redis://:told-to-everybody-4@host/0",
        "ALERT_TOKEN": "https://hooks.test/told-to-everybody-5",
        "LIFTOS_POSTGRES_URL": "postgresql://[not-a-host/",
        "LIFTOS_GOOGLE_ADS_TOKEN_URL": "https://tokens.test/nothing-to-hide",
    }
    KnownSecrets().remember("told-to-everybody-6")
    folder = tmp_path / "stack"
    folder.mkdir()
    (folder / "secrets.json").write_text(json.dumps({"encryption": "k1:told-to-everybody-7"}))
    environment["TOLD"] = TOLD
    environment["LOG"] = str(tmp_path / "worker.log")
    code = "import os; secret = os.environ['TOLD']; TELL"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
""",
}
_TOLD = {
    "told-to-everybody-1": "LIFTOS_JWT_SECRET",
    "told-to-everybody-3": "LIFTOS_SECRET_KEYS",
    "told-to-everybody-4": "LIFTOS_REDIS_URL",
    "https://hooks.test/told-to-everybody-5": "ALERT_TOKEN",
    "told-to-everybody-6": "a secret of a server",
    "told-to-everybody-7": "encryption",
}
_WRITTEN = {
    "worker.log": "print(secret, file=open(os.environ['LOG'], 'w'))",
    "captured-output.txt": "print(secret)",
}


def _run(planted: Path, told: str, tell: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run the tests, one of which tells a value."""
    project = planted / "project"
    project.mkdir()
    for name, text in _TESTS.items():
        (project / name).write_text(text.replace("TOLD\n", f"{told!r}\n").replace("TELL", tell))
    roots = f"pythonpath={REPOSITORY} {REPOSITORY}/services {REPOSITORY}/gen"
    always = ("-q", "-p", "no:cacheprovider", "-o", roots, f"--basetemp={planted / 'run'}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *always, *options],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert "told-to-everybody" not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    ("where", "processes"),
    [
        ("worker.log", ()),
        ("captured-output.txt", ()),
        # What is noted in one process is found by the first, wherever it stands.
        ("captured-output.txt", ("-n2", "--dist=loadfile")),
    ],
    ids=["log", "output", "output-of-many"],
)
def test_a_planted_leak_fails_the_run(
    planted: Path, where: str, processes: tuple[str, ...]
) -> None:
    """All tests pass, and yet the run fails and says where, but not what, the secret is."""
    done = _run(planted, "told-to-everybody-1", _WRITTEN[where], *processes)
    assert done.returncode == 1
    assert "SECRET WRITTEN DOWN: LIFTOS_JWT_SECRET in " in done.stdout
    assert f"{where}:" in done.stdout


def test_every_source_of_secrets_is_known(planted: Path) -> None:
    """Environments, keys and URLs in them, servers within tests, and stacks."""
    done = _run(planted, "\n".join(_TOLD), _WRITTEN["worker.log"])
    found = {line.split(" in ")[0] for line in done.stdout.splitlines() if "WRITTEN" in line}
    assert found == {f"SECRET WRITTEN DOWN: {kind}" for kind in _TOLD.values()}
    assert done.returncode == 1


def test_an_address_is_no_secret(planted: Path) -> None:
    """A run that writes down where tokens are had, and no token, is fine."""
    done = _run(planted, "https://tokens.test/nothing-to-hide", _WRITTEN["worker.log"])
    assert (done.returncode, "0 secrets in " in done.stdout) == (0, True)
