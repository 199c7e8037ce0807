"""SQL text that chooses what dates stand for: days by different bases are never added."""

from typing import Final

from liftos_mapping.date_bases import SENDING_PLATFORMS, default_date_basis
from liftos_mapping.entry_fields import LEVELS

_DEFAULTS: Final = ", ".join(
    str(default_date_basis("", level)) for level in range(1, len(LEVELS) + 1)
)
_SENDING: Final = " ".join(
    f"when {{alias}}.platform = '{platform}' then (array["
    + ", ".join(str(default_date_basis(platform, level)) for level in range(1, len(LEVELS) + 1))
    + "])[{alias}.level]"
    for platform in SENDING_PLATFORMS
)


def basis_order(alias: str) -> str:
    """Return the place of a row's date basis among those of its object; the least is chosen.

    0 is the basis that the platform dates this level by unless told otherwise; the others follow
    in the order of the contract.
    """
    usual = f"case {_SENDING.format(alias=alias)} else (array[{_DEFAULTS}])[{alias}.level] end"
    return f"case when {alias}.date_basis = {usual} then 0 else {alias}.date_basis end"
