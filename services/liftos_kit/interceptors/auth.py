"""Lets in who may call a method, and only with names of their own org."""

from types import TracebackType
from typing import Final

from google.protobuf.message import Message

from liftos_kit.access import Requirement, check_of_names, find_method, requirement_of
from liftos_kit.auth import Principal, TokenVerifier, current_principal, set_principal
from liftos_kit.core.errors import (
    RoleInsufficientError,
    ScopeMissingError,
    TokenInvalidError,
    TokenMissingError,
)
from liftos_kit.interceptors.around import Around, Context, Method

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

        Raises:
            AccessError: The contract has no role for the method; the call fails closed.
        """
        if method.is_infrastructure:
            return None
        described = find_method(method.path)
        requirement = requirement_of(described)
        names = check_of_names(described.input_type)
        verifier = self._verifier

        def check(message: Message) -> None:
            assert names is not None
            names(message, current_principal().org)

        return Around(
            enter=lambda context: _Authenticated(verifier, requirement, context),
            check=None if names is None else check,
        )


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
