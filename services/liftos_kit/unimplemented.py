"""Answers for what the contract has and this version does not.

A whole method needs nothing: one that a servicer does not override answers so by itself.
"""

from typing import NoReturn

from liftos_kit.core.errors import NotBuiltError


def not_built(subject: str) -> NoReturn:
    """Answer UNIMPLEMENTED with NOT_BUILT, for a part of a method.

    Args:
        subject: What is not there yet, as the subject of a sentence.

    Raises:
        NotBuiltError: Always.
    """
    raise NotBuiltError(subject)
