"""Broken rules of the contract, in the words that callers read."""

import pytest
from google.protobuf.message import Message

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.memory.v1.memory_service_pb2 import GetEntryRequest, QueryMetricsRequest
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.interceptors.validation import ValidationLayer

_DATES = DateRange(start_date="2026-13-01", end_date="20260105")
_DATE = "must be a date as YYYY-MM-DD, such as 2026-01-31"


@pytest.mark.parametrize(
    ("message", "described"),
    [
        (
            GetEntryRequest(name="orgs/demo/entries/1"),
            {
                "name": "must look like orgs/{org}/entries/{entry},"
                " where {entry} is 8 digits, - and 32 hex digits"
            },
        ),
        (
            QueryMetricsRequest(parent="orgs/demo", date_range=_DATES, group_by=["campaign"]),
            {
                "date_range.start_date": _DATE,
                "date_range.end_date": _DATE,
                "level": "must be given",
                "group_by[0]": "must be one of platform, account_id, campaign_id, ad_group_id,"
                " ad_id, flow_id, message_id, series_id, channel, attribution_key, date_basis,"
                " breakdown, breakdown_key, day_of_week",
            },
        ),
    ],
)
def test_every_broken_rule_says_what_is_allowed(
    message: Message, described: dict[str, str]
) -> None:
    """No regular expressions and no numbers of enum values."""
    with pytest.raises(InvalidFieldsError) as caught:
        ValidationLayer().check(message)
    assert {each.field: each.description for each in caught.value.violations} == described
