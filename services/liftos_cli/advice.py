"""What to do about a refusal of a server, in commands."""

from collections import defaultdict
from typing import Final

from liftos_client.errors import LiftosError

_ADVICE: Final = {
    "TOKEN_MISSING": "give --token, or set LIFTOS_TOKEN",
    "TOKEN_INVALID": "get a token for this server, with its own secret: `liftos token --help`",
    "TOKEN_EXPIRED": "get a new one with `liftos token --org ORG --role ROLE`",
    "ROLE_INSUFFICIENT": "use a token with a higher role: `liftos token --org ORG --role admin`",
    "SCOPE_MISSING": "use a token with that scope: `liftos token --org ORG --role ROLE"
    " --scope {scope}`",
    "ORG_MISMATCH": "use a token of that organisation, or leave --org away",
    "FENCE_CLOSED": "wait, or open it: `liftos fence set SCOPE --epoch N --open`",
    "EPOCH_FENCED": "give an epoch that is not lower: `liftos fence get SCOPE`",
    "RATE_MISSING": "load rates with `liftos rates import FILE`, or leave --currency away",
    "ETAG_MISMATCH": "run the command again",
    "NOT_BUILT": "use a server of a later version",
    "UNIMPLEMENTED": "name {service}'s own address with --target; `liftos status` shows it",
    "GATE_UNMET": "meet them, or read what each needs: `liftos migration preflight MIGRATION` and"
    " `liftos migration verifications MIGRATION`",
    "CREDENTIALS_REJECTED": "give one that the platform takes; `liftos sources get {platform}`"
    " shows its fields",
    "CHANNEL_INSECURE": "add --tls, and take a new secret: this one went over an open channel",
    "PLATFORM_RATE_LIMITED": "try again later; `liftos runs quota` shows the limits",
    "FILTER_INVALID": "write it like 'FIELD = \"text\" AND OTHER >= 5', with the fields of the"
    " command",
    "STORE_UNAVAILABLE": "try again in a moment; `liftos doctor` looks at a stack on this machine",
    "SERVER_OVERLOADED": "try again in a moment",
    "SHUTTING_DOWN": "try again in a moment",
}
_NO_PLATFORM: Final = (
    "see whether its address is right (`liftos sources get {platform}`) and reached from where the"
    " services run, then try again"
)
_MISSING: Final = {
    "alertRoutes": "liftos alerts routes list",
    "alerts": "liftos alerts list",
    "artifacts": "liftos artifacts list",
    "calendarEvents": "liftos events list",
    "connections": "liftos connections list",
    "deadLetters": "liftos dead-letters list",
    "entries": "liftos entries list",
    "migrations": "liftos migration list",
    "notes": "liftos notes list",
    "rejects": "liftos migration rejects list MIGRATION",
    "runs": "liftos runs list",
    "schedules": "liftos schedules list",
    "insightRoutes": "liftos insights routes list",
    "insights": "liftos insights list",
    "sources": "liftos sources list",
    "suspensions": "liftos suspensions list",
    "verifications": "liftos migration verifications MIGRATION",
}
"""What shows those that there are, by collection."""
_PLATFORMS: Final = "liftos platforms list"
"""The same of Memory's sources, which people know as platforms."""
_TAKEN: Final = {
    "alertRoutes": "choose another id, or change it with `liftos alerts routes update {id}`",
    "connections": "choose another id, or change it with `liftos connections update {id}`, and its"
    " credential with `liftos connections set-credential {id}`",
    "migrations": "choose another id, or change it with `liftos migration update {id}`",
    "schedules": "choose another id, or change it with `liftos schedules update {id}`",
}
_STATES: Final = {
    (
        "connections",
        "UNVERIFIED",
    ): "ask its platform with `liftos connections verify {id}`; where it"
    " has no credential, `liftos connections set-credential {id}` gives it one",
    ("connections", "REJECTED"): "give it a credential that the platform takes: `liftos connections"
    " set-credential {id}`",
    ("connections", "DISABLED"): "switch it on with `liftos connections update {id} --enable`",
    ("migrations", "DRAFT"): "start it with `liftos migration start {id}`",
    ("migrations", "PAUSED"): "let it go on with `liftos migration resume {id}`",
    (
        "migrations",
        "RESNAPSHOT_REQUIRED",
    ): "copy it again from a new point with `liftos migration resume {id}`",
}


def advice_for(error: LiftosError, *, service: str, scope: str) -> str:
    """Return what to do about an error; empty where nothing is known.

    Args:
        error: What the call failed with.
        service: The title of what was called.
        scope: Its scope in tokens.
    """
    facts = defaultdict(str, error.metadata)
    collection, _, id_ = facts["resource_name"].rpartition("/")
    collection = collection.rpartition("/")[2]
    match error.reason:
        case "RESOURCE_NOT_FOUND":
            of_memory = collection == "sources" and service == "Memory"
            command = _PLATFORMS if of_memory else _MISSING.get(collection)
            text = f"`{command}` shows those that there are" if command else ""
        case "RESOURCE_ALREADY_EXISTS":
            text = _TAKEN.get(collection, "")
        case "STATE_TRANSITION_INVALID":
            text = _STATES.get((collection, facts["state"]), "")
        case "STORE_UNAVAILABLE" if facts["platform"]:
            text = _NO_PLATFORM
        case reason:
            text = _ADVICE.get(reason or error.code.name, "")
    return text.format(id=id_, platform=facts["platform"], service=service, scope=scope)
