"""A secret shows itself to nobody but who asks for it."""

import copy
import json
import logging
import pickle
import traceback
from dataclasses import asdict, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.redaction import REDACTED, redact_text
from liftos_kit.secrets.secret import Secret

_values = st.text(st.characters(categories=["L", "N"]), min_size=10, max_size=40)


@dataclass(frozen=True)
class _Login:
    user: str
    token: Secret


@given(_values)
def test_a_secret_does_not_show(value: str) -> None:
    """Not as a text, in a format, within other values, in a dataclass or in a log record."""
    secret = Secret(value)
    shown = [
        str(secret),
        repr(secret),
        f"{secret} {secret!r} {secret:>40}",
        "%s %r" % (secret, secret),  # noqa: UP031  # logging formats so
        str([secret, {"token": secret}]),
        str(_Login("u", secret)),
        str(asdict(_Login("u", secret))),
        json.dumps({"token": secret}, default=str),
        logging.LogRecord("x", 20, "x", 1, "token %s", (secret,), None).getMessage(),
    ]
    assert not [text for text in shown if value in text]
    assert secret.reveal() == value


def _log_in(secret: Secret) -> None:
    login = _Login("u", secret)
    raise RuntimeError(f"could not log in as {login}")


@given(_values)
def test_a_secret_is_not_in_a_traceback(value: str) -> None:
    """Not even in one that shows local variables."""
    with pytest.raises(RuntimeError) as caught:
        _log_in(Secret(value))
    trace = traceback.TracebackException(
        RuntimeError, caught.value, caught.tb.tb_next, capture_locals=True
    )
    told = "".join(trace.format())
    assert f"secret = Secret({REDACTED})" in told
    assert value not in told


def test_a_secret_is_not_written() -> None:
    """Pickle, JSON and whatever asks for the state of an object are refused."""
    secret = Secret("correct horse battery")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=r"reveal\(\)"):
            pickle.dumps(secret, protocol)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError, match=r"reveal\(\)"):
        secret.__getstate__()
    with pytest.raises(TypeError):
        vars(secret)


def test_a_secret_is_a_value() -> None:
    """Equal by value, hashable, not to be changed; a copy is itself."""
    secret = Secret("correct horse battery")
    assert secret == Secret("correct horse battery")
    assert secret != Secret("correct horse batters")
    assert secret != "correct horse battery"
    assert len({secret, Secret("correct horse battery")}) == 1
    assert copy.deepcopy([secret])[0] is copy.copy(secret) is secret
    with pytest.raises(AttributeError):
        secret.value = "x"
    with pytest.raises(AttributeError):
        delattr(secret, "_Secret__value")
    with pytest.raises(ValueError, match="None"):
        Secret("")


@given(_values)
def test_a_secret_is_redacted_from_its_birth(value: str) -> None:
    """Before anybody reveals it, as after."""
    secret = Secret(value)
    assert redact_text(f"<{value}>") == f"<{REDACTED}>"
    assert redact_text(f"<{secret.reveal()}>") == f"<{REDACTED}>"
