"""Syncs as messages."""

from liftos.causal.v1 import causal_pb2 as pb
from liftos_causal.convert.selections import range_message
from liftos_causal.convert.words import SYNC_STATE_NUMBERS, SYNC_TYPE_NUMBERS
from liftos_causal.domain.names import SYNC_NAME
from liftos_causal.domain.records import PlatformSync
from liftos_kit.structs import timestamp


def sync_message(org: str, sync: PlatformSync) -> pb.PlatformSync:
    """Return the message of a sync."""
    return pb.PlatformSync(
        name=SYNC_NAME.format(org=org, platform_sync=sync.id),
        sync_type=SYNC_TYPE_NUMBERS[sync.sync_type],
        date_range=range_message(sync.days),
        state=SYNC_STATE_NUMBERS[sync.state],
        platforms=[
            pb.PlatformSyncResult(
                platform=each.platform,
                state=SYNC_STATE_NUMBERS[each.state],
                row_count=each.row_count,
                runs=each.runs,
                error=each.error,
            )
            for each in sync.platforms
        ],
        start_time=timestamp(sync.start_time),
        end_time=timestamp(sync.end_time),
    )
