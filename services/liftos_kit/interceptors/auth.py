"""Lets in who may call a method, and only with names of their own org."""

from types import TracebackType
from typing import Final, NoReturn

from google.protobuf.message import Message

from liftos_kit.access import (
    AccessError,
    NameCheck,
    Requirement,
    check_of_names,
    find_method,
    requirement_of,
)
from liftos_kit.auth import Principal, TokenVerifier, current_principal, set_principal
from liftos_kit.core.errors import (
    RoleInsufficientError,
    ScopeMissingError,
    TokenInvalidError,
    TokenMissingError,
)
from liftos_kit.interceptors.around import Around, Check, Context, Enter, Method

_SCHEME: Final = "bearer "


class AuthLayer:
    """Verifies the token of each call; the method's role and scope come from the contract.

    Args:
        verifier: Checks tokens.
    """

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    def bind(self, method: Method) -> Around | None:
        """Surround every method but health and reflection.

        A method for which the contract has no role fails closed: all its calls end as faults.
        """
        if method.is_infrastructure:
            return None
        try:
            described = find_method(method.path)
            requirement = requirement_of(described)
        except AccessError as error:
            return Around(enter=_refusing(error))
        verifier = self._verifier

        def enter(context: Context) -> _Authenticated:
            return _Authenticated(verifier, requirement, context)

        return Around(enter=enter, check=_own_names(check_of_names(described.input_type)))


def _refusing(error: AccessError) -> Enter:
    def enter(context: Context) -> NoReturn:  # noqa: ARG001  # no call gets further
        raise error

    return enter


def _own_names(check: NameCheck | None) -> Check | None:
    if check is None:
        return None

    def own_names(message: Message) -> None:
        check(message, current_principal().org)

    return own_names


class _Authenticated:
    __slots__ = ("_context", "_requirement", "_verifier")

    def __init__(self, verifier: TokenVerifier, requirement: Requirement, context: Context) -> None:
        self._verifier = verifier
        self._requirement = requirement
        self._context = context

    async def __aenter__(self) -> Principal:
        token = _bearer_token(self._context)
        principal = self._verifier.recall(token) or await self._verifier.verify(token)
        if self._requirement.scope not in principal.scopes:
            raise ScopeMissingError(self._requirement.scope)
        if not principal.has_role(self._requirement.role):
            raise RoleInsufficientError(self._requirement.role)
        # Each call runs in a task of its own, so nothing needs to be put back afterwards.
        set_principal(principal)
        return principal

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return


def _bearer_token(context: Context) -> str:
    found: str | None = None
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            if found is not None:
                raise TokenInvalidError("there are two of them")
            found = value if isinstance(value, str) else ""
    if found is None:
        raise TokenMissingError
    if found[: len(_SCHEME)].lower() != _SCHEME:
        raise TokenInvalidError("write `Bearer` before it")
    return found[len(_SCHEME) :]
