"""How the reading of an account went, from its slices."""

import pytest

from liftos_ingestion.domain.failures import AccountOutcome, ErrorClass, outcome_of


@pytest.mark.parametrize(
    ("given_up", "committed", "outcome"),
    [
        ((), True, AccountOutcome.OK),
        ((), False, None),
        ((ErrorClass.PERMANENT,), True, AccountOutcome.PARTIAL),
        ((ErrorClass.PERMANENT,), False, AccountOutcome.PLATFORM_FAILED),
        ((ErrorClass.ACCOUNT_CLOSED,), False, AccountOutcome.ACCOUNT_CLOSED),
    ],
)
def test_an_account_is_well_once_numbers_of_it_were_read(
    given_up: tuple[ErrorClass, ...], committed: bool, outcome: AccountOutcome | None
) -> None:
    """One of which nothing was read, and nothing failed, has no outcome yet."""
    found = outcome_of(
        given_up,
        objects_failed=False,
        rows_refused=False,
        waits_for_quota=False,
        committed=committed,
    )
    assert found is outcome
