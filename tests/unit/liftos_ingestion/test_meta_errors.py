"""Meta's errors: one class each, with everything that its support and our reader need."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_ingestion.adapters.sources.meta.errors import (
    GraphError,
    MetaError,
    Remedy,
    classified,
    graph_error,
    run_error,
)
from liftos_ingestion.adapters.sources.platform_http import Answer
from liftos_ingestion.domain.failures import ErrorClass
from liftos_kit.secrets.secret import Secret


def answered(status: int, data: object) -> MetaError:
    """What an answer means that is an error."""
    error = graph_error(Answer(status, {}, b"", data))
    assert error is not None
    return classified(error)


def refused(code: int, subcode: int = 0, message: str = "it said so", **more: Any) -> MetaError:
    """What an error in Meta's own form means."""
    body = {"message": message, "code": code, "error_subcode": subcode, **more}
    return answered(400, {"error": body})


@pytest.mark.parametrize(
    ("code", "subcode", "message", "error_class", "remedy"),
    [
        (190, 463, "Session has expired", ErrorClass.CREDENTIALS, Remedy.NONE),
        (190, 0, "Cannot parse access token", ErrorClass.CREDENTIALS, Remedy.NONE),
        (102, 0, "Session key invalid", ErrorClass.CREDENTIALS, Remedy.NONE),
        (101, 0, "Error validating client secret.", ErrorClass.CREDENTIALS, Remedy.NONE),
        (2500, 0, "An active access token must be used", ErrorClass.CREDENTIALS, Remedy.NONE),
        (100, 0, "Invalid appsecret_proof provided", ErrorClass.CREDENTIALS, Remedy.NONE),
        (2500, 0, "Unknown path components: /v99.0", ErrorClass.VERSION, Remedy.NONE),
        (2635, 0, "deprecated version", ErrorClass.VERSION, Remedy.NONE),
        (100, 1487534, "reduce the amount of data", ErrorClass.TOO_LARGE, Remedy.NONE),
        (2, 1504038, "Request Too Large", ErrorClass.TOO_LARGE, Remedy.NONE),
        (1, 0, "Please reduce the amount of data", ErrorClass.TOO_LARGE, Remedy.SMALLER_PAGE),
        (1, 0, "An unknown error occurred", ErrorClass.TRANSIENT, Remedy.NONE),
        (2, 1504044, "Request Timed Out", ErrorClass.TRANSIENT, Remedy.NONE),
        (2, 1504043, "Request Timed Out", ErrorClass.TRANSIENT, Remedy.NONE),
        (2, 1504041, "no such breakdown", ErrorClass.PERMANENT, Remedy.NONE),
        (2601, 1815107, "Error accessing adreport job", ErrorClass.TRANSIENT, Remedy.WAIT),
        (2637, 0, "not there", ErrorClass.TRANSIENT, Remedy.WAIT),
        (
            100,
            0,
            "(#100) Cannot include actions in summary param because they weren't there while",
            ErrorClass.TRANSIENT,
            Remedy.WAIT,
        ),
        (100, 33, "Object with ID '1' does not exist", ErrorClass.PERMISSION, Remedy.LOOK_AGAIN),
        (803, 0, "Some of the aliases do not exist: 1", ErrorClass.PERMISSION, Remedy.LOOK_AGAIN),
        (
            100,
            0,
            "The After Cursor specified is invalid",
            ErrorClass.TRANSIENT,
            Remedy.START_OVER,
        ),
        (100, 0, "Tried accessing nonexisting field (x)", ErrorClass.PERMANENT, Remedy.NONE),
        (200, 0, "(#200) Ad account owner has NOT grant", ErrorClass.PERMISSION, Remedy.NONE),
        (200, 0, "(#200) The ad account is disabled.", ErrorClass.ACCOUNT_CLOSED, Remedy.NONE),
        (10, 0, "no permission", ErrorClass.PERMISSION, Remedy.NONE),
        (3018, 0, "cannot be beyond 37 months", ErrorClass.PERMANENT, Remedy.NONE),
        (960, 0, "batch timed out", ErrorClass.TRANSIENT, Remedy.NONE),
        (7777, 0, "what nobody has seen", ErrorClass.PERMANENT, Remedy.NONE),
    ],
)
def test_what_an_error_means(
    code: int, subcode: int, message: str, error_class: ErrorClass, remedy: Remedy
) -> None:
    """The first rule that fits decides the class and what is tried first."""
    error = refused(code, subcode, message)
    assert (error.failure.error_class, error.remedy) == (error_class, remedy)


@pytest.mark.parametrize(
    "code", [4, 17, 32, 341, 368, 613, 80000, 80001, 80004, 80006, 80008, 80009, 80014]
)
def test_a_limit_is_no_failure_of_the_slice(code: int) -> None:
    """Every limit costs no try, although Meta says that it is not transient."""
    failure = refused(code, 2446079, is_transient=False).failure
    assert failure.error_class is ErrorClass.RATE_LIMITED
    assert not failure.disposition.costs_attempt
    assert failure.platform_code == f"{code}/2446079"


@pytest.mark.parametrize(
    ("status", "data", "error_class"),
    [
        (502, None, ErrorClass.TRANSIENT),
        (503, {"error": "a text"}, ErrorClass.TRANSIENT),
        (429, None, ErrorClass.RATE_LIMITED),
        (429, {}, ErrorClass.RATE_LIMITED),
        (403, None, ErrorClass.TRANSIENT),
        (404, {}, ErrorClass.TRANSIENT),
        (200, {"error": {"code": 190}}, ErrorClass.CREDENTIALS),
        (200, {"error": {"code": True, "error_subcode": [], "message": 5}}, ErrorClass.TRANSIENT),
    ],
)
def test_errors_without_meta_s_own_form(status: int, data: object, error_class: ErrorClass) -> None:
    """What something in front of Meta answers is judged by its status and never by its words."""
    assert answered(status, data).failure.error_class is error_class


def test_an_answer_that_is_no_error() -> None:
    """An answer without an error has none."""
    assert graph_error(Answer(200, {}, b"", {"data": []})) is None


def test_a_failure_tells_everything_but_the_token() -> None:
    """Code, trace and both messages are there, and a token that Meta repeats is not."""
    token = Secret("EAABsecretOfSomebody0001").reveal()
    failure = refused(
        190, 467, f"Malformed access token {token}", error_user_msg="Log in.", fbtrace_id="A12"
    ).failure
    assert failure.platform_code == "190/467"
    assert failure.platform_request_id == "A12"
    assert "Malformed access token" in failure.message
    assert "Log in; give the connection another access token." in failure.message
    assert token not in failure.message


def test_a_report_that_failed_without_a_reason() -> None:
    """It is tried again."""
    assert classified(run_error({})).failure.error_class is ErrorClass.TRANSIENT


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    st.sampled_from([200, 400, 401, 403, 404, 429, 500, 502]),
)
def test_any_error_has_a_class(body: object, status: int) -> None:
    """Whatever stands under `error`, it is classified and never raises anything else."""
    for data in (body, {"error": body}, {"error": {"code": body, "message": body}}):
        error = graph_error(Answer(status, {}, b"", data))
        if error is not None:
            assert classified(error).failure.error_class in ErrorClass


def test_the_code_of_an_error_without_one() -> None:
    """The HTTP status stands in."""
    assert GraphError(status=502).platform_code == "502"
