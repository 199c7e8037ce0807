"""The metrics of an account: which one counts orders, and those of its messages' events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from liftos_ingestion.adapters.sources.klaviyo.client import KlaviyoClient
from liftos_ingestion.adapters.sources.klaviyo.documents import (
    listed,
    one,
    related_ids,
    text,
)
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.platform_limits import KlaviyoEndpoint

PLACED_ORDER: Final = "Placed Order"

_OWN: Final = "klaviyo"
"""The key of Klaviyo's own integration, whose metrics are about messages."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as Klaviyo lists it.

    Attributes:
        integration: Key of the integration that it comes from, in lower case.
    """

    metric_id: str
    name: str
    integration: str


@dataclass(frozen=True, slots=True)
class Orders:
    """The metric whose events are conversions.

    Attributes:
        metric_id: Its id.
        custom: Whether it is one that somebody defined, which aggregates do not take.
    """

    metric_id: str
    custom: bool = False


async def metrics_of(client: KlaviyoClient) -> tuple[Metric, ...]:
    """Return all metrics of an account.

    Raises:
        NotReadyError, ReadingError: As calls do.
    """
    found: list[Metric] = []
    params = {"fields[metric]": "name,integration"}
    async for answer in client.pages(KlaviyoEndpoint.METRICS, params):
        for resource in listed(answer.data):
            integration = text(resource, "attributes", "integration", "key") or text(
                resource, "attributes", "integration", "name"
            )
            found.append(
                Metric(
                    text(resource, "id"), text(resource, "attributes", "name"), integration.lower()
                )
            )
    return tuple(found)


def own_metrics(metrics: tuple[Metric, ...]) -> Mapping[str, str]:
    """Return the ids of Klaviyo's own metrics by name."""
    return {metric.name: metric.metric_id for metric in metrics if metric.integration == _OWN}


async def mapped_revenue(client: KlaviyoClient) -> Orders | None:
    """Return the metric that the account has chosen for revenue; None where it chose none.

    Raises:
        NotReadyError, ReadingError: As calls do.
    """
    try:
        answer = await client.get(
            KlaviyoEndpoint.MAPPED_METRICS, path="/api/mapped-metrics/revenue"
        )
    except ReadingError as error:
        if error.failure.platform_code.startswith("404"):
            return None
        raise
    mapped = one(answer.data)
    for metric_id in related_ids(mapped, "metric"):
        return Orders(metric_id)
    for metric_id in related_ids(mapped, "custom-metric"):
        return Orders(metric_id, custom=True)
    return None


def placed_order(metrics: tuple[Metric, ...]) -> Orders | None:
    """Return the one metric that is called Placed Order; None where there is none.

    Raises:
        ReadingError: Several are, from several shops.
    """
    found = [metric for metric in metrics if metric.name == PLACED_ORDER]
    if len(found) > 1:
        shops = ", ".join(f"{it.metric_id} ({it.integration})" for it in found)
        raise ReadingError(
            Failure(
                ErrorClass.PERMANENT,
                f"Several metrics are called {PLACED_ORDER}: {shops}. Map one to revenue in"
                " Klaviyo, or set conversion_metric_id.",
            )
        )
    return Orders(found[0].metric_id) if found else None
