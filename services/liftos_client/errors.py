"""Every error that a call can raise, told apart by the reasons of the contract.

LiftosError
 ├ InvalidRequestError              the request has to be changed
 │  ├ FieldInvalidError · BatchTooLargeError · PageTokenInvalidError · FilterInvalidError
 │  ├ ArrowInvalidError · MessageTooLargeError
 │  └ FrameError                    a frame does not fit; raised before anything is sent
 ├ NotFoundError
 ├ AlreadyExistsError
 │  └ RequestIdReusedError
 ├ EtagMismatchError                read again, then change again
 ├ PreconditionError                the state of the service does not allow it
 │  ├ StateTransitionError · FenceClosedError · EpochFencedError · RateMissingError
 │  ├ CredentialsRejectedError · VerificationFailedError · GateUnmetError
 │  └ ChannelInsecureError · DataInsufficientError
 ├ SequenceError
 ├ UnauthenticatedError
 │  └ TokenMissingError · TokenInvalidError · TokenExpiredError
 ├ AccessDeniedError
 │  └ RoleInsufficientError · ScopeMissingError · OrgMismatchError
 ├ OverloadedError
 │  └ PlatformRateLimitedError
 ├ UnavailableError
 │  └ StoreUnavailableError · ReadNotFreshError · ShuttingDownError
 ├ DeadlineExceededError
 ├ NotBuiltError
 └ ServiceFaultError                a fault of the service; report it with its trace_id
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from liftos.common.v1.error_reason_pb2 import ErrorReason

_PREFIX: Final = "ERROR_REASON_"
_DOMAIN: Final = "liftos.dev"
_SHOWN_VIOLATIONS: Final = 5
_SAME_CHARACTERS: Final = 60
_TOO_LARGE: Final = re.compile(r"larger than max \((\d+) vs\. (\d+)\)")


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One thing that is wrong with a request.

    Attributes:
        field: Its path, such as `date_range.start_date`.
        description: What was found and what is allowed, for a person.
        rule: A stable word for the rule, such as `string.pattern`.
    """

    field: str
    description: str
    rule: str = ""


class LiftosError(Exception):
    """A call failed.

    Attributes:
        code: The gRPC code.
        reason: The contract's reason without its prefix, such as `FENCE_CLOSED`; empty where the
            error did not come from LiftOS, such as a refused connection.
        message: What happened, for a person.
        metadata: What belongs to the reason; docs/contract.md lists the keys of each.
        field_violations: All that is wrong with the request, or all gates that are not met.
        retry_after_seconds: When trying again may help, where the service knows.
        trace_id: Finds the call in the service's traces, where it was given.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        field_violations: Sequence[FieldViolation] = (),
        retry_after_seconds: float | None = None,
        trace_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        self.field_violations = tuple(field_violations)
        self.retry_after_seconds = retry_after_seconds
        self.trace_id = trace_id

    @property
    def retriable(self) -> bool:
        """True where the same call may succeed a little later."""
        if self.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return self.retry_after_seconds is not None
        return self.code is grpc.StatusCode.UNAVAILABLE

    def __str__(self) -> str:
        lines = [self.message or self.code.name]
        # Where there is but one, the message often says it already.
        violations = [
            violation
            for violation in self.field_violations
            if violation.description[:_SAME_CHARACTERS] not in self.message
        ]
        shown = violations[:_SHOWN_VIOLATIONS]
        lines += [f"  {violation.field}: {violation.description}" for violation in shown]
        if more := len(violations) - len(shown):
            lines.append(f"  and {more} more")
        if self.trace_id:
            lines.append(f"  trace {self.trace_id}")
        return "\n".join(lines)


class InvalidRequestError(LiftosError):
    """The request has to be changed."""


class FieldInvalidError(InvalidRequestError):
    """Fields break rules of the contract; `field_violations` has all of them."""


class BatchTooLargeError(InvalidRequestError):
    """There are too many rows. metadata: item_count, maximum_items."""


class PageTokenInvalidError(InvalidRequestError):
    """The page token is damaged or belongs to another request."""


class FilterInvalidError(InvalidRequestError):
    """The filter cannot be read. metadata: filter, position."""


class ArrowInvalidError(InvalidRequestError):
    """The Arrow data cannot be read or has wrong columns."""


class MessageTooLargeError(InvalidRequestError):
    """The message is larger than allowed. metadata: size_bytes, maximum_bytes."""


class FrameError(InvalidRequestError):
    """A frame does not fit the columns of an entry; nothing was sent."""

    def __init__(self, message: str, violations: Sequence[FieldViolation] = ()) -> None:
        super().__init__(
            message,
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="FIELD_INVALID",
            field_violations=violations,
        )


class NotFoundError(LiftosError):
    """There is no such thing. metadata: resource_name."""


class AlreadyExistsError(LiftosError):
    """There is such a thing already. metadata: resource_name."""


class RequestIdReusedError(AlreadyExistsError):
    """The request_id was used with another payload. metadata: request_id."""


class EtagMismatchError(LiftosError):
    """It was changed since it was read. metadata: resource_name."""


class PreconditionError(LiftosError):
    """The state of the service does not allow it."""


class StateTransitionError(PreconditionError):
    """That cannot follow from the present state. metadata: state, allowed_states."""


class FenceClosedError(PreconditionError):
    """Writes of the scope are closed. metadata: scope, epoch."""


class EpochFencedError(PreconditionError):
    """A newer writer has taken over. metadata: current_epoch, received_epoch."""


class RateMissingError(PreconditionError):
    """The rate table lacks a rate. metadata: currency_code, date."""


class CredentialsRejectedError(PreconditionError):
    """The platform refuses the credentials. metadata: connection, platform."""


class VerificationFailedError(PreconditionError):
    """A verification did not hold. metadata: check, measured, threshold."""


class ChannelInsecureError(PreconditionError):
    """A secret came over an open channel; use TLS, and a new secret. metadata: field."""


class DataInsufficientError(PreconditionError):
    """The data does not suffice for a sound answer. metadata: need, found, required."""


class GateUnmetError(PreconditionError):
    """Gates are not met; `field_violations` has each of them with what was measured."""


class SequenceError(LiftosError):
    """A sequence of a stream is missing. metadata: expected_sequence, received_sequence."""


class UnauthenticatedError(LiftosError):
    """The service does not know who calls."""


class TokenMissingError(UnauthenticatedError):
    """The call has no bearer token."""


class TokenInvalidError(UnauthenticatedError):
    """The token is malformed, wrongly signed, or for another audience."""


class TokenExpiredError(UnauthenticatedError):
    """The token has expired; get a new one."""


class AccessDeniedError(LiftosError):
    """The caller may not do that."""


class RoleInsufficientError(AccessDeniedError):
    """The caller's role is too small. metadata: required_role."""


class ScopeMissingError(AccessDeniedError):
    """The token is not for this service. metadata: required_scope."""


class OrgMismatchError(AccessDeniedError):
    """The request names another organisation than the token. metadata: field."""


class OverloadedError(LiftosError):
    """The service has too much to do just now. metadata: limit."""


class PlatformRateLimitedError(OverloadedError):
    """The platform takes no more calls just now. metadata: platform."""


class UnavailableError(LiftosError):
    """The service cannot be reached or cannot answer just now."""


class StoreUnavailableError(UnavailableError):
    """A store of the service, or a platform, does not answer. metadata: store, platform."""


class ReadNotFreshError(UnavailableError):
    """The read could not yet cover the write token. metadata: store."""


class ShuttingDownError(UnavailableError):
    """That server is draining; call again, another one answers."""


class DeadlineExceededError(LiftosError):
    """There was no answer in time; a write may have happened nevertheless."""


class NotBuiltError(LiftosError):
    """The contract has the method, this version of the service does not. metadata: feature."""


class ServiceFaultError(LiftosError):
    """A fault of the service."""


ERRORS_BY_REASON: Final[Mapping[int, type[LiftosError]]] = MappingProxyType(
    {
        ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND: NotFoundError,
        ErrorReason.ERROR_REASON_RESOURCE_ALREADY_EXISTS: AlreadyExistsError,
        ErrorReason.ERROR_REASON_FIELD_INVALID: FieldInvalidError,
        ErrorReason.ERROR_REASON_BATCH_TOO_LARGE: BatchTooLargeError,
        ErrorReason.ERROR_REASON_PAGE_TOKEN_INVALID: PageTokenInvalidError,
        ErrorReason.ERROR_REASON_FILTER_INVALID: FilterInvalidError,
        ErrorReason.ERROR_REASON_REQUEST_ID_REUSED: RequestIdReusedError,
        ErrorReason.ERROR_REASON_ETAG_MISMATCH: EtagMismatchError,
        ErrorReason.ERROR_REASON_STATE_TRANSITION_INVALID: StateTransitionError,
        ErrorReason.ERROR_REASON_SEQUENCE_OUT_OF_RANGE: SequenceError,
        ErrorReason.ERROR_REASON_STORE_UNAVAILABLE: StoreUnavailableError,
        ErrorReason.ERROR_REASON_SERVER_OVERLOADED: OverloadedError,
        ErrorReason.ERROR_REASON_CREDENTIALS_REJECTED: CredentialsRejectedError,
        ErrorReason.ERROR_REASON_PLATFORM_RATE_LIMITED: PlatformRateLimitedError,
        ErrorReason.ERROR_REASON_VERIFICATION_FAILED: VerificationFailedError,
        ErrorReason.ERROR_REASON_TOKEN_MISSING: TokenMissingError,
        ErrorReason.ERROR_REASON_TOKEN_INVALID: TokenInvalidError,
        ErrorReason.ERROR_REASON_TOKEN_EXPIRED: TokenExpiredError,
        ErrorReason.ERROR_REASON_ROLE_INSUFFICIENT: RoleInsufficientError,
        ErrorReason.ERROR_REASON_SCOPE_MISSING: ScopeMissingError,
        ErrorReason.ERROR_REASON_ORG_MISMATCH: OrgMismatchError,
        ErrorReason.ERROR_REASON_FENCE_CLOSED: FenceClosedError,
        ErrorReason.ERROR_REASON_EPOCH_FENCED: EpochFencedError,
        ErrorReason.ERROR_REASON_RATE_MISSING: RateMissingError,
        ErrorReason.ERROR_REASON_READ_NOT_FRESH: ReadNotFreshError,
        ErrorReason.ERROR_REASON_NOT_BUILT: NotBuiltError,
        ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED: DeadlineExceededError,
        ErrorReason.ERROR_REASON_INTERNAL: ServiceFaultError,
        ErrorReason.ERROR_REASON_ARROW_INVALID: ArrowInvalidError,
        ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE: MessageTooLargeError,
        ErrorReason.ERROR_REASON_SHUTTING_DOWN: ShuttingDownError,
        ErrorReason.ERROR_REASON_CHANNEL_INSECURE: ChannelInsecureError,
        ErrorReason.ERROR_REASON_DATA_INSUFFICIENT: DataInsufficientError,
        ErrorReason.ERROR_REASON_GATE_UNMET: GateUnmetError,
    }
)
"""The class of each reason of the contract."""

_ERRORS_BY_CODE: Final[Mapping[grpc.StatusCode, type[LiftosError]]] = MappingProxyType(
    {
        grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
        grpc.StatusCode.NOT_FOUND: NotFoundError,
        grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
        grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
        grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
        grpc.StatusCode.PERMISSION_DENIED: AccessDeniedError,
        grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
        grpc.StatusCode.UNAVAILABLE: UnavailableError,
        grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
        grpc.StatusCode.UNIMPLEMENTED: NotBuiltError,
        grpc.StatusCode.INTERNAL: ServiceFaultError,
    }
)


def _too_large(message: str) -> str:
    """Return the refusal of gRPC in words that say what to do; as it is where it is another."""
    sizes = _TOO_LARGE.search(message)
    if sizes is None:
        return message
    size, most = (int(text) for text in sizes.groups())
    return (
        f"the message has {size:,} bytes, and one may have at most {most:,}; send or ask for less"
        " at once"
    )


def decode_error(error: grpc.aio.AioRpcError) -> LiftosError:
    """Return the typed error of a failed call, from the details of its status."""
    code, message = error.code(), error.details() or ""
    info, violations, retry_after_seconds = _details_of(error)
    # gRPC itself refuses messages over its limit, without details.
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
        kind: type[LiftosError] = MessageTooLargeError
        message = _too_large(message)
    else:
        kind = _ERRORS_BY_CODE.get(code, LiftosError)
    reason = ""
    if info.domain == _DOMAIN:
        reason = info.reason.removeprefix(_PREFIX)
        known = ErrorReason.DESCRIPTOR.values_by_name.get(info.reason)
        if known is not None:
            kind = ERRORS_BY_REASON.get(known.number, kind)
    metadata = dict(info.metadata)
    return kind(
        message,
        code=code,
        reason=reason,
        metadata=metadata,
        field_violations=violations,
        retry_after_seconds=retry_after_seconds,
        trace_id=metadata.get("trace_id", ""),
    )


def _details_of(
    error: grpc.aio.AioRpcError,
) -> tuple[error_details_pb2.ErrorInfo, list[FieldViolation], float | None]:
    try:
        # AioRpcError has the methods of a call that are read here.
        status = rpc_status.from_call(error)
        return _read_details(() if status is None else status.details)
    except (ValueError, DecodeError):
        # A proxy on the way may have changed them: then code and text of the error itself count.
        return _read_details(())


def _read_details(
    details: Iterable[Any],
) -> tuple[error_details_pb2.ErrorInfo, list[FieldViolation], float | None]:
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    gates = error_details_pb2.PreconditionFailure()
    retry = error_details_pb2.RetryInfo()
    retry_after_seconds: float | None = None
    for detail in details:
        detail.Unpack(info)
        detail.Unpack(bad_request)
        detail.Unpack(gates)
        if detail.Unpack(retry):
            retry_after_seconds = retry.retry_delay.ToNanoseconds() / 1e9
    violations = [
        FieldViolation(violation.field, violation.description, violation.reason)
        for violation in bad_request.field_violations
    ]
    violations += [
        FieldViolation(gate.subject, gate.description, gate.type) for gate in gates.violations
    ]
    return info, violations, retry_after_seconds
