"""How far the worker has got with the documents of search, from its own metrics."""

import re
from http.client import HTTPException
from typing import Final
from urllib.request import urlopen

_WRITTEN: Final = re.compile(
    r"^liftos_outbox_documents_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE
)
_TIMEOUT_SECONDS: Final = 2.0


def documents_written(metrics_address: str) -> int | None:
    """Return how many documents the worker has written since it started, None if it cannot say."""
    try:
        with urlopen(f"http://{metrics_address}/metrics", timeout=_TIMEOUT_SECONDS) as answer:
            text = answer.read().decode("utf-8")
    except (OSError, HTTPException):
        return None
    return count_in(text)


def count_in(metrics: str) -> int:
    """Return the count in the text that Prometheus scrapes; 0 where there is none yet."""
    return sum(int(float(value)) for value in _WRITTEN.findall(metrics))
