"""Drafted services: they run with the whole chassis, and each method says that it is not there."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from tests.e2e.memory.contract_calls import exposed_methods, outcome, valid_request

from liftos.migration.v1 import migration_service_pb2
from liftos_kit.testing.server import SECRET, authorization

DRAFTS = {
    "migration": migration_service_pb2.DESCRIPTOR,
}
GIVEN: dict[str, dict[str, Any]] = {
    "ResolveRejects": {"filter": "state = OPEN"},
    "WaiveRejects": {"filter": "state = OPEN"},
    "VerifyReport": {"signature": bytes(64)},
}
"""What requests need beyond what their single rules say."""


@contextmanager
def _served(scope: str) -> Iterator[str]:
    """Run a drafted service as a process of its own; give its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"liftos_{scope}", "serve"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": "services:gen",
            "LIFTOS_PORT": "0",
            "LIFTOS_METRICS_PORT": "0",
            "LIFTOS_JWT_SECRET": SECRET,
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        events = map(json.loads, process.stderr)
        serving = next(event for event in events if event["event"] == "serving")
        yield f"127.0.0.1:{serving['port']}"
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stderr.close()


@pytest.mark.parametrize("scope", DRAFTS)
async def test_every_method_says_that_it_is_not_built(scope: str) -> None:
    """A member is told NOT_BUILT; a stranger and a member without the scope learn nothing."""
    with _served(scope) as target:
        async with grpc.aio.insecure_channel(target) as channel:
            methods = await exposed_methods(channel)
            (service,) = DRAFTS[scope].services_by_name.values()
            assert {rpc.method.name for rpc in methods} == {each.name for each in service.methods}
            for rpc in methods:
                request = valid_request(rpc, "acme")
                for name, value in GIVEN.get(rpc.method.name, {}).items():
                    setattr(request, name, value)
                refusal = await outcome(channel, rpc, request, authorization())
                assert refusal is not None, rpc.path
                assert refusal.code is grpc.StatusCode.UNIMPLEMENTED, (rpc.path, refusal)
                assert refusal.reason == "ERROR_REASON_NOT_BUILT"
                stranger = await outcome(channel, rpc, request)
                assert stranger is not None
                assert stranger.code is grpc.StatusCode.UNAUTHENTICATED
                elsewhere = await outcome(channel, rpc, request, authorization(scopes=["memory"]))
                assert elsewhere is not None
                assert elsewhere.reason == "ERROR_REASON_SCOPE_MISSING"
