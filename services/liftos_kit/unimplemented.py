"""Answers for what the contract has and this version does not."""

from typing import NoReturn

import grpc

from liftos_kit.core.errors import NotBuiltError
from liftos_kit.interceptors.around import Context


def not_built(subject: str) -> NoReturn:
    """Answer UNIMPLEMENTED with NOT_BUILT, for a part of a method.

    Args:
        subject: What is not there yet, as the subject of a sentence.

    Raises:
        NotBuiltError: Always.
    """
    raise NotBuiltError(subject)


def is_generated_default(error: BaseException, context: Context) -> bool:
    """Tell whether an error comes from a method that a servicer did not override.

    The generated base class sets the code and raises NotImplementedError; one that a library
    raises does not set the code, and is a fault.
    """
    return isinstance(error, NotImplementedError) and context.code() in (
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNIMPLEMENTED.value[0],
    )
