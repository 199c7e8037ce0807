"""A secret value that does not show itself."""

import hmac
from typing import Final, NoReturn, SupportsIndex, final

from liftos_kit.redaction import REDACTED, remember_secret

_REFUSAL: Final = "a Secret is not written anywhere; reveal() its value where it is used"


@final
class Secret:
    """A text that is in no log, error, repr, JSON or pickle.

    From its birth on, its value is also taken out of all that the process logs and traces.

    Raises:
        ValueError: The value is empty.
    """

    __slots__ = ("__value",)
    __value: str

    def __init__(self, value: str) -> None:
        if not value:
            raise ValueError("a Secret has at least one character; use None for no secret")
        object.__setattr__(self, "_Secret__value", value)
        remember_secret(value)

    def reveal(self) -> str:
        """Return the value, to hand it to what needs it and nothing else."""
        remember_secret(self.__value)
        return self.__value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self.__value), _bytes(other.__value))

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __repr__(self) -> str:
        return f"Secret({REDACTED})"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, specification: str) -> str:
        return REDACTED

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> "Secret":
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret does not change; make another one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Secret does not change; make another one")

    def __getstate__(self) -> NoReturn:
        raise TypeError(_REFUSAL)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(_REFUSAL)


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")
