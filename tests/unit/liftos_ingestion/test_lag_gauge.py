"""The gauge of how far accounts lie behind."""

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from liftos_ingestion.adapters.lag_gauge import LagGauge
from liftos_ingestion.run_ports import AccountLag
from liftos_kit import telemetry


def _shown(reader: InMemoryMetricReader) -> dict[str, float]:
    data = reader.get_metrics_data()
    return {
        str((point.attributes or {})[telemetry.ACCOUNT]): point.value  # type: ignore[union-attr]
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if metric.name == telemetry.READ_LAG_DAYS
    }


def test_an_account_that_is_no_longer_read_is_no_longer_shown() -> None:
    """The last lag stays for as long as it is the last, and then goes with its labels."""
    reader = InMemoryMetricReader()
    meters = MeterProvider(metric_readers=[reader])
    gauge = LagGauge(meters)
    assert _shown(reader) == {}
    gauge.tell([AccountLag("acme", "meta", "7", 1), AccountLag("acme", "meta", "8", 3)])
    assert _shown(reader) == _shown(reader) == {"7": 1, "8": 3}
    gauge.tell([AccountLag("acme", "meta", "7", 2)])
    assert _shown(reader) == {"7": 2}
    meters.shutdown()
