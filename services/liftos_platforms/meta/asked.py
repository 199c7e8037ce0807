"""One request of the Graph API, read from HTTP or from an item of a batch."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import web

from liftos_platforms.meta.errors import GRAPH_VERSION, invalid

CREDENTIALS: Final = frozenset(
    {"access_token", "appsecret_proof", "client_secret", "fb_exchange_token", "input_token"}
)
"""Parameters that never reach the journal."""

_VERSION: Final = re.compile(r"v[0-9]+\.[0-9]+")
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_MAXIMUM_BATCH: Final = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked.

    Attributes:
        path: Segments behind the version.
        params: Of the query and of the form together, credentials included.
        base_url: Scheme and host, for the links of an answer.
    """

    method: str
    version: str
    path: tuple[str, ...]
    params: Mapping[str, str]
    headers: Mapping[str, str]
    base_url: str

    @property
    def token(self) -> str:
        """The access token, of a parameter or of the header; empty without one."""
        bearer = self.headers.get("Authorization", "")
        return self.params.get("access_token") or bearer.removeprefix("Bearer ").strip()

    @property
    def plain_params(self) -> dict[str, str]:
        """The parameters without credentials and without the items of a batch."""
        return {
            name: value
            for name, value in self.params.items()
            if name not in CREDENTIALS and name not in {"batch", "include_headers"}
        }

    @property
    def url(self) -> str:
        """The address without its query."""
        return "/".join((self.base_url, self.version, *self.path))


async def asked_of(request: web.Request) -> Asked:
    """Read a request.

    Raises:
        GraphError: A body is no form.
    """
    params = dict(request.query)
    if request.method == "POST" and request.can_read_body:
        if request.content_type not in _FORMS:
            raise invalid(f"Content-Type {request.content_type} is not a form")
        params |= {name: str(value) for name, value in (await request.post()).items()}
    version, path = _split(request.path)
    return Asked(
        method=request.method,
        version=version,
        path=path,
        params=params,
        headers=request.headers,
        base_url=f"{request.scheme}://{request.host}",
    )


def batch_of(asked: Asked) -> tuple[Asked, ...]:
    """The requests of a batch, with the token of the whole where they have none.

    Raises:
        GraphError: The batch cannot be read, or has more than 50 items.
    """
    try:
        items = json.loads(asked.params.get("batch", ""))
    except ValueError:
        raise invalid("Param batch must be an array") from None
    if not isinstance(items, list) or not items:
        raise invalid("Param batch must be an array")
    if len(items) > _MAXIMUM_BATCH:
        raise invalid(f"Too many requests in batch message. Maximum batch size is {_MAXIMUM_BATCH}")
    return tuple(_item(asked, item) for item in items)


def _item(asked: Asked, item: object) -> Asked:
    if not isinstance(item, dict) or not {"method", "relative_url"} <= set(item):
        raise invalid("Param batch[0] must have a method and a relative_url")
    url = urlsplit(str(item["relative_url"]))
    params = dict(parse_qsl(url.query, keep_blank_values=True))
    params |= dict(parse_qsl(str(item.get("body", "")), keep_blank_values=True))
    params.setdefault("access_token", asked.token)
    version, path = _split(unquote(url.path))
    return Asked(
        method=str(item["method"]).upper(),
        version=version,
        path=path,
        params=params,
        headers=asked.headers,
        base_url=asked.base_url,
    )


def _split(path: str) -> tuple[str, tuple[str, ...]]:
    """Version and segments; a path without a version is of the current one."""
    segments = tuple(segment for segment in path.split("/") if segment)
    if segments and _VERSION.fullmatch(segments[0]):
        return segments[0], segments[1:]
    return GRAPH_VERSION, segments
