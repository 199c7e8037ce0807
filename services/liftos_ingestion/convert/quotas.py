"""Limits as messages."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from liftos.ingestion.v1 import run_pb2
from liftos_ingestion.domain.platform_limits import described
from liftos_ingestion.quota_ports import QuotaState
from liftos_kit.structs import timestamp


def quota_message(state: QuotaState) -> run_pb2.Quota:
    """Return the message of a limit."""
    window = Duration()
    window.FromTimedelta(timedelta(seconds=state.limit.window_seconds))
    key = state.limit.key
    return run_pb2.Quota(
        platform=key.platform,
        scope=key.scope,
        key=key.key,
        unit=state.limit.unit,
        limit=state.limit.capacity,
        used=state.used,
        window=window,
        reset_time=timestamp(state.reset_time),
        blocked_until_time=timestamp(state.blocked_until_time),
        parked_slice_count=state.parked_count,
        observe_time=timestamp(state.observe_time),
        display_name=described(key),
    )
