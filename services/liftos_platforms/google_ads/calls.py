"""Calls as the service sees them, whatever the transport, and how they are recorded."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from liftos_platforms.faults import Call, Fault, FaultKind
from liftos_platforms.google_ads.catalogue import FieldType
from liftos_platforms.google_ads.failures import RefusedError
from liftos_platforms.google_ads.plan import Plan
from liftos_platforms.journal import Outcome
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import Platform

Recorded = tuple[Outcome, Fault | None]


class GoesAwayError(Exception):
    """The server ends all its connections and is back soon."""


@dataclass(frozen=True, slots=True)
class SearchCall:
    """A call of Search or SearchStream.

    Attributes:
        endpoint: `search` or `search_stream`.
        method: `rpc` or the HTTP method.
        headers: Metadata or headers, names in lower case.
        wants_results: False where only the summary row is asked for.
    """

    endpoint: str
    method: str
    headers: Mapping[str, str]
    customer_id: str
    query: str
    page_token: str = ""
    page_size: int = 0
    validate_only: bool = False
    wants_results: bool = True
    wants_summary_row: bool = False
    wants_total_count: bool = False


@contextmanager
def recorded_search(
    simulation: Simulation, call: SearchCall, plan: Plan | None
) -> Iterator[Recorded]:
    """Record a call of Search or SearchStream that runs inside; yield the fault that strikes it."""
    has_days = plan is not None and None not in (plan.first_day, plan.last_day)
    recorded = Call(
        Platform.GOOGLE_ADS,
        call.endpoint,
        account_id=call.customer_id,
        first_day=plan.first_day if plan is not None and has_days else None,
        last_day=plan.last_day if plan is not None and has_days else None,
        parameters=MappingProxyType(
            {
                "query": call.query,
                "resource": "" if plan is None else plan.resource,
                "page_token": call.page_token,
                "login_customer_id": call.headers.get("login-customer-id", ""),
                "validate_only": str(call.validate_only).lower(),
            }
        ),
    )

    def applies(fault: Fault) -> bool:
        match fault.kind:
            case FaultKind.PAGE_TOKEN_EXPIRED:
                return bool(call.page_token)
            case FaultKind.ROW_REPEATED:
                return call.endpoint == "search_stream" or bool(call.page_token)
            case FaultKind.ENUM_UNKNOWN:
                return plan is not None and _has_enum(plan)
            case _:
                return True

    with recorded_call(simulation, recorded, call.method, call.headers, applies) as found:
        yield found


@contextmanager
def recorded_call(
    simulation: Simulation,
    call: Call,
    method: str,
    headers: Mapping[str, str],
    applies: Callable[[Fault], bool] = lambda _: True,
) -> Iterator[Recorded]:
    """Record a call that runs inside; yield the fault that strikes it."""
    fault = simulation.faults.take(call, applies=applies)
    with simulation.journal.record(
        call,
        at=simulation.clock.now(),
        method=method,
        credential=headers.get("authorization", "").partition(" ")[2],
        headers=headers,
    ) as outcome:
        outcome.fault = None if fault is None else fault.kind
        try:
            yield outcome, fault
        except RefusedError as error:
            refusal = error.refusal
            outcome.status = refusal.status.name
            outcome.error = f"{refusal.category}.{refusal.code}" if refusal.category else ""
            raise
        except GoesAwayError:
            outcome.status = "UNAVAILABLE"
            raise
        except (asyncio.CancelledError, GeneratorExit):
            outcome.status = "CANCELLED"
            raise
        outcome.status = outcome.status or "OK"


def _has_enum(plan: Plan) -> bool:
    """Tell whether a query selects an enum of a resource."""
    return any(field.type is FieldType.ENUM for field in plan.attributes)
