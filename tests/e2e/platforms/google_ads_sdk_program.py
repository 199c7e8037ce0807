"""Runs cases through the official SDK in a process of its own, and prints what it got.

The SDK speaks TLS only, and gRPC reads the roots that it trusts once in a process's life. Reads
{"mode": "sync" | "async", "endpoint", "token_uri", "refresh_token", "login_customer_id",
"developer_token", "cases": [{"call", "customer_id", "query"}]} from standard input and writes a
list with {"rows", "error", "failure", "request_id"} for each case.
"""

import asyncio
import json
import sys
from typing import Any

import grpc
from google.ads.googleads.client import GoogleAdsClient
from google.ads.googleads.errors import GoogleAdsException
from google.ads.googleads.v26.errors.types.errors import GoogleAdsFailure
from google.api_core.exceptions import GoogleAPICallError
from google.oauth2.credentials import Credentials
from google.protobuf.json_format import MessageToDict

VERSION = "v26"


def _client(asked: dict[str, Any]) -> GoogleAdsClient:
    credentials = Credentials(  # type: ignore[no-untyped-call]
        None,
        refresh_token=asked["refresh_token"],
        token_uri=asked["token_uri"],
        client_id="client",
        client_secret="secret",
    )
    return GoogleAdsClient(
        credentials,
        endpoint=asked["endpoint"],
        login_customer_id=asked["login_customer_id"],
        developer_token=asked["developer_token"],
        version=VERSION,
    )


def _failure(trailers: Any) -> Any:
    """Decode the failure from trailing metadata, as one has to where the SDK does not."""
    for key, value in trailers or ():
        if key.endswith("googleadsfailure-bin"):
            return MessageToDict(GoogleAdsFailure.deserialize(value)._pb)
    return None


def _request_id(trailers: Any) -> str:
    return str(dict(trailers or ()).get("request-id", ""))


def _refused(rows: list[Any], error: Exception) -> dict[str, Any]:
    if isinstance(error, GoogleAdsException):
        failure = MessageToDict(getattr(error.failure, "_pb", error.failure))
        return {
            "rows": rows,
            "error": type(error).__name__,
            "failure": failure,
            "request_id": error.request_id,
        }
    assert isinstance(error, GoogleAPICallError)
    call = error.errors[0]
    assert isinstance(call, grpc.RpcError)
    trailers = call.trailing_metadata()
    return {
        "rows": rows,
        "error": type(error).__name__,
        "failure": _failure(trailers),
        "request_id": _request_id(trailers),
    }


def _row(row: Any) -> Any:
    # The asynchronous client wraps its rows whatever it is asked for.
    return MessageToDict(getattr(row, "_pb", row))


def _run_sync(asked: dict[str, Any]) -> list[dict[str, Any]]:
    client = _client(asked)
    service = client.get_service("GoogleAdsService")
    customers = client.get_service("CustomerService")
    results = []
    for case in asked["cases"]:
        rows: list[Any] = []
        try:
            if case["call"] == "customers":
                rows.extend(customers.list_accessible_customers().resource_names)
            elif case["call"] == "stream":
                for batch in service.search_stream(
                    customer_id=case["customer_id"], query=case["query"]
                ):
                    rows.extend(map(_row, batch.results))
            else:
                found = service.search(customer_id=case["customer_id"], query=case["query"])
                rows.extend(map(_row, found))
        except (GoogleAdsException, GoogleAPICallError) as error:
            results.append(_refused(rows, error))
        else:
            results.append({"rows": rows, "error": "", "failure": None, "request_id": ""})
    return results


async def _run_async(asked: dict[str, Any]) -> list[dict[str, Any]]:
    client = _client(asked)
    service = client.get_service("GoogleAdsService", is_async=True)
    customers = client.get_service("CustomerService", is_async=True)
    results = []
    for case in asked["cases"]:
        rows: list[Any] = []
        try:
            if case["call"] == "customers":
                rows.extend((await customers.list_accessible_customers()).resource_names)
            elif case["call"] == "stream":
                stream = await service.search_stream(
                    customer_id=case["customer_id"], query=case["query"]
                )
                async for batch in stream:
                    rows.extend(map(_row, batch.results))
            else:
                pager = await service.search(customer_id=case["customer_id"], query=case["query"])
                rows.extend([_row(row) async for row in pager])
        except (GoogleAdsException, GoogleAPICallError) as error:
            results.append(_refused(rows, error))
        else:
            results.append({"rows": rows, "error": "", "failure": None, "request_id": ""})
    return results


if __name__ == "__main__":
    request = json.load(sys.stdin)
    outcome = _run_sync(request) if request["mode"] == "sync" else asyncio.run(_run_async(request))
    json.dump(outcome, sys.stdout)
