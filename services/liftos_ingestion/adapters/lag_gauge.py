"""How far accounts lie behind, as a metric."""

from collections.abc import Iterable, Sequence

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from liftos_ingestion.run_ports import AccountLag
from liftos_kit import telemetry


class LagGauge:
    """Observed rather than set, so that an account which is no longer read is no longer shown.

    Args:
        meter_provider: Where measurements go; the process's by default.
    """

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        self._lags: Sequence[AccountLag] = ()
        metrics.get_meter(telemetry.SCOPE, meter_provider=meter_provider).create_observable_gauge(
            telemetry.READ_LAG_DAYS,
            callbacks=[self._observe],
            unit="d",
            description="Days from the newest committed day of an account that is read to now;"
            " where it has none, from the first day that was asked for.",
        )

    def tell(self, lags: Sequence[AccountLag]) -> None:
        """Show these from now on, and no others."""
        self._lags = lags

    def _observe(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(
                lag.days,
                {
                    telemetry.ORG: lag.org,
                    telemetry.PLATFORM: lag.platform,
                    telemetry.ACCOUNT: lag.account_id,
                },
            )
            for lag in self._lags
        ]
