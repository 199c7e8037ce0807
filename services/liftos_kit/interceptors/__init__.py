"""The chain of every call, in one list, with the reason for each place."""

from liftos_kit.auth import TokenVerifier
from liftos_kit.interceptors.around import Layer
from liftos_kit.interceptors.auth import AuthLayer
from liftos_kit.interceptors.deadline import DeadlineLayer
from liftos_kit.interceptors.errors import ErrorsLayer
from liftos_kit.interceptors.limits import LimitsLayer
from liftos_kit.interceptors.request_log import RequestLogLayer
from liftos_kit.interceptors.telemetry import TelemetryLayer
from liftos_kit.interceptors.validation import ValidationLayer


def ordered_layers(
    *,
    verifier: TokenVerifier,
    maximum_concurrent_calls: int,
    default_deadline_seconds: float,
) -> tuple[Layer, ...]:
    """Return the layers of the chain, outermost first.

    Args:
        verifier: Checks tokens.
        maximum_concurrent_calls: Calls at once, and streams at once.
        default_deadline_seconds: Time of a unary call whose caller gave none.
    """
    return (
        # Sees every call with its final code, and gives the log and the errors their trace id.
        TelemetryLayer(),
        # Logs refusals of all layers below, with the code that the caller got.
        RequestLogLayer(),
        # Outside of all that refuses, so that each refusal goes through the one table.
        ErrorsLayer(),
        # A stranger must not take a place of the limit, nor learn what validation would say.
        AuthLayer(verifier),
        # Before the clock starts: time spent waiting for a place is the server's, not the work's.
        LimitsLayer(maximum=maximum_concurrent_calls),
        # Around the work itself, and told to all that the work calls.
        DeadlineLayer(default_seconds=default_deadline_seconds),
        # Last, next to the handler: it may then rely on every rule of the contract.
        ValidationLayer(),
    )
