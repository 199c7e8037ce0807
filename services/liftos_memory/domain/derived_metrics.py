"""Metrics that are computed on read: ratios of sums, defined once.

`DERIVED_METRICS` is the one table of definitions. Every way to compute them — for one mapping, for
whole Arrow columns, or in SQL generated from the table — performs the same steps on 64-bit floats,

    numerator / (denominator * divisor)

and therefore gives the same bits. The divisor brings micros to units: 1e6 where the numerator alone
is in micros, 1 where both or neither are, 1e3 for the price of a thousand. Rates are fractions,
prices are units of the row's currency.

A derived metric is unset where the denominator is zero or one of its inputs is unset. Of several
entries it takes the sums of those sources that have both inputs; a source is an account, with mails
apart from what else it sends. So what television cost has no part in the price of a thousand
impressions that others count, nor have text messages in the rate of mails that are opened; and a
day without sales, which many platforms leave unset, takes nothing off what its account spent. The
entries of one object are of one source. Frequency is
not among them: reach is no sum, so the platform's own number for the row is the only true one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True)
class Denominator:
    """A column to divide by, and what it is multiplied with first."""

    column: str
    divisor: float = 1.0


@dataclass(frozen=True, slots=True)
class DerivedMetric:
    """One ratio of sums.

    Attributes:
        name: Its name in the contract.
        numerator: The column above the line.
        denominators: The columns below the line; the first that is set counts, even when it is 0.
    """

    name: str
    numerator: str
    denominators: tuple[Denominator, ...]


def _ratio(name: str, numerator: str, column: str, divisor: float = 1.0) -> DerivedMetric:
    return DerivedMetric(name, numerator, (Denominator(column, divisor),))


DERIVED_METRICS: Final = (
    _ratio("ctr", "clicks", "impressions"),
    _ratio("link_ctr", "link_clicks", "impressions"),
    _ratio("cpc", "spend_micros", "clicks", 1e6),
    _ratio("cpm", "spend_micros", "impressions", 1e3),
    _ratio("conversion_rate", "conversions_micros", "clicks", 1e6),
    _ratio("cost_per_conversion", "spend_micros", "conversions_micros"),
    _ratio("roas", "revenue_micros", "spend_micros"),
    DerivedMetric(
        "average_order_value",
        "revenue_micros",
        (Denominator("orders", 1e6), Denominator("conversions_micros")),
    ),
    _ratio("open_rate", "opened", "delivered"),
    _ratio("click_rate", "clicked", "delivered"),
    _ratio("click_to_open_rate", "clicked", "opened"),
    _ratio("unsubscribe_rate", "unsubscribed", "delivered"),
    _ratio("bounce_rate", "bounced", "sent"),
    _ratio("spam_rate", "spam_complaints", "delivered"),
)
"""Every derived metric, in the order in which they are shown."""

ACCOUNT_COLUMNS: Final = ("platform", "account_id")
"""What tells accounts apart, and so sources, but for their mails."""
MAIL_CHANNEL: Final = "email"
"""The channel, in small letters, whose entries are a source apart."""

DERIVED_METRIC_NAMES: Final = tuple(metric.name for metric in DERIVED_METRICS)


def derive(sums: Mapping[str, int | Decimal | None]) -> dict[str, float | None]:
    """Return every derived metric of one row or one group of rows.

    Args:
        sums: Additive numbers by column; a column that is absent is unset.
    """
    return {metric.name: _derive_one(metric, sums) for metric in DERIVED_METRICS}


def _derive_one(metric: DerivedMetric, sums: Mapping[str, int | Decimal | None]) -> float | None:
    numerator = sums.get(metric.numerator)
    if numerator is None:
        return None
    for denominator in metric.denominators:
        number = sums.get(denominator.column)
        if number is not None:
            below = float(number) * denominator.divisor
            return float(numerator) / below if below else None
    return None


def derive_columns(
    table: pa.Table | pa.RecordBatch, *, names: tuple[str, ...] = DERIVED_METRIC_NAMES
) -> dict[str, pa.Array]:
    """Return derived metrics of every row as nullable float64 columns, in the order of `names`.

    Columns that the table does not have are unset. Raises KeyError for a name that is not in
    `DERIVED_METRICS`.
    """
    definitions = {metric.name: metric for metric in DERIVED_METRICS}
    return {name: _derive_column(definitions[name], table) for name in names}


def _derive_column(metric: DerivedMetric, table: pa.Table | pa.RecordBatch) -> pa.Array:
    numerator, is_set = _floats(table, metric.numerator)
    below = np.zeros(table.num_rows)
    is_open = is_set.copy()
    for denominator in metric.denominators:
        number, has_number = _floats(table, denominator.column)
        chosen = is_open & has_number
        below[chosen] = number[chosen] * denominator.divisor
        is_open &= ~has_number
    defined = is_set & (below != 0.0)
    values = np.divide(numerator, below, out=np.zeros(table.num_rows), where=defined)
    return pa.array(values, pa.float64(), mask=~defined)


def _floats(
    table: pa.Table | pa.RecordBatch, column: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return a column as floats, 0 where unset, and where it is set."""
    count = table.num_rows
    if column not in table.schema.names or table.column(column).null_count == count:
        return np.zeros(count), np.zeros(count, np.bool_)
    values = table.column(column)
    numbers: npt.NDArray[np.float64] = pc.cast(
        values.fill_null(0), pa.float64(), safe=False
    ).to_numpy()
    if not values.null_count:
        return numbers, np.ones(count, np.bool_)
    is_set: npt.NDArray[np.bool_] = np.asarray(values.is_valid())
    return numbers, is_set
