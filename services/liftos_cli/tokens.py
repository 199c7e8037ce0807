"""Tokens for development: JWTs signed with the secret of the embedded stack (RFC 7515, HS256)."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Sequence
from typing import Final

from liftos_cli.errors import CommandError

ROLES: Final = ("reader", "writer", "admin")
SCOPES: Final = ("memory", "ingestion", "migration", "causal")

_ISSUER: Final = "liftos"
_AUDIENCE: Final = "liftos"
_ORG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_LIFETIME: Final = re.compile(r"([0-9]+)([smhd])", re.ASCII)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LONGEST_SECONDS: Final = 366 * 86_400


def issue_token(
    secret: str,
    *,
    org: str,
    roles: Sequence[str],
    scopes: Sequence[str] = SCOPES,
    subject: str,
    lifetime_seconds: int,
    now_seconds: float | None = None,
) -> str:
    """Return a signed token.

    Raises:
        CommandError: An org, a role or a scope that no server would take.
    """
    if not _ORG.fullmatch(org):
        raise CommandError(
            f"{org!r} is no organisation id",
            advice="write lower-case letters, digits and hyphens, at most 63, such as demo",
        )
    for given, known, what in ((roles, ROLES, "role"), (scopes, SCOPES, "scope")):
        if unknown := sorted(set(given) - set(known)):
            raise CommandError(
                f"there is no {what} {unknown[0]!r}", advice=f"write one of {', '.join(known)}"
            )
    now = int(time.time() if now_seconds is None else now_seconds)
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": subject,
        "org": org,
        "roles": list(dict.fromkeys(roles)),
        "scopes": list(dict.fromkeys(scopes)),
        "iat": now,
        "exp": now + lifetime_seconds,
    }
    signed = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(claims)}"
    signature = hmac.digest(secret.encode(), signed.encode(), hashlib.sha256)
    return f"{signed}.{_base64(signature)}"


def lifetime_seconds(text: str) -> int:
    """Return the seconds of a length of time such as `30m`, `1h` or `7d`.

    Raises:
        CommandError: It is no length of time, or longer than a year.
    """
    match = _LIFETIME.fullmatch(text)
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise CommandError(
            f"{text!r} is no lifetime", advice="write a number and s, m, h or d, such as 1h"
        )
    return seconds


def _segment(value: dict[str, object]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
