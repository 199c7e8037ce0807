"""Raw rows as the platforms' documents compose them."""

import json
from typing import Any

import pytest

META_PAGE = """
{"data":[{"account_id":"1001","account_currency":"EUR","campaign_id":"2001","campaign_name":"Autumn","adset_id":"3001","ad_id":"4001",
  "date_start":"2026-11-01","date_stop":"2026-11-01","attribution_setting":"7d_click_1d_view",
  "spend":"53.39","impressions":"3613","reach":"3100","frequency":"1.165484","clicks":"80","inline_link_clicks":"61",
  "actions":[{"action_type":"link_click","value":"61"},
             {"action_type":"purchase","value":"4","7d_click":"3","1d_view":"1"},
             {"action_type":"omni_purchase","value":"4"},{"action_type":"offsite_conversion.fb_pixel_purchase","value":"4"}],
  "action_values":[{"action_type":"omni_purchase","value":"212.40","7d_click":"180.00","1d_view":"32.40"}],
  "purchase_roas":[{"action_type":"omni_purchase","value":"3.978273"}],
  "video_play_actions":[{"action_type":"video_view","value":"900"}],
  "video_thruplay_watched_actions":[{"action_type":"video_view","value":"120"}]}]}
"""

GOOGLE_ROW = """
{"customer":{"id":1112223333,"currency_code":"EUR","time_zone":"Europe/Paris"},
 "campaign":{"resource_name":"customers/1112223333/campaigns/77","id":77,"name":"Brand","status":"ENABLED","advertising_channel_type":"SEARCH"},
 "segments":{"date":"2026-10-01"},
 "metrics":{"cost_micros":12340000,"impressions":901,"clicks":33,"conversions":2.5,"conversions_value":118.9,"video_trueview_views":0}}
"""

GOOGLE_REST_CHUNKS = """
[{"results":[{"campaign":{"resourceName":"customers/1112223333/campaigns/77","id":"77","name":"Brand"},
  "metrics":{"costMicros":"12340000","clicks":"33","conversions":2.5,"conversionsValue":118.9},"segments":{"date":"2026-10-01"}}],
  "fieldMask":"campaign.id,metrics.costMicros","requestId":"XyZ"}]
"""

KLAVIYO_CAMPAIGN_ANSWER = """
{"data":{"type":"campaign-values-report","id":"..","attributes":{"results":[{"groupings":{"campaign_id":"01G","campaign_message_id":"01H","send_channel":"email"},
     "statistics":{"recipients":5000.0,"opens_unique":1210.0,"conversion_value":640.5}}]},"relationships":{"campaigns":{"data":[]}}},"links":{"self":"..","next":null}}
"""


@pytest.fixture
def meta_row() -> dict[str, Any]:
    """One Insights row."""
    row: dict[str, Any] = json.loads(META_PAGE)["data"][0]
    return row


@pytest.fixture
def google_row() -> dict[str, Any]:
    """One row of SearchStream as a proto-like object."""
    row: dict[str, Any] = json.loads(GOOGLE_ROW)
    return row


@pytest.fixture
def google_rest_row() -> dict[str, Any]:
    """One row of SearchStream over REST."""
    row: dict[str, Any] = json.loads(GOOGLE_REST_CHUNKS)[0]["results"][0]
    return row


@pytest.fixture
def klaviyo_row() -> dict[str, Any]:
    """One result of a campaign-values-report."""
    answer = json.loads(KLAVIYO_CAMPAIGN_ANSWER)
    row: dict[str, Any] = answer["data"]["attributes"]["results"][0]
    return row
