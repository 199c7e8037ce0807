"""What Core refuses, in the terms of the module."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from liftos_client.errors import (
    DeadlineExceededError,
    FenceClosedError,
    OverloadedError,
    RateMissingError,
    UnavailableError,
)
from liftos_kit.core import errors

_RETRY_SECONDS: Final = 1.0


@contextmanager
def translated(service: str, *, currency_code: str = "") -> Iterator[None]:
    """Turn refusals of a service into the module's own.

    Args:
        service: Which one.
        currency_code: Into which money was to be converted; empty for the base currency.

    Raises:
        FenceClosedError: Writes are closed.
        RateMissingError: Money cannot be converted.
        StoreUnavailableError: The service does not answer.
    """
    try:
        yield
    except RateMissingError as error:
        told = error.metadata
        raise errors.RateMissingError(
            [(told["currency_code"], currency_code or "the base currency", told["date"])]
        ) from error
    except FenceClosedError as error:
        raise errors.FenceClosedError(
            error.metadata["scope"], epoch=int(error.metadata["epoch"])
        ) from error
    except (UnavailableError, DeadlineExceededError, OverloadedError) as error:
        raise errors.StoreUnavailableError(
            service, retry_after_seconds=error.retry_after_seconds or _RETRY_SECONDS
        ) from error
