"""Sources that are installed beside the service, as Python entry points of a group.

A package names a function without arguments that returns a `PlatformSource`; the name of the entry
point is the source's platform:

    [project.entry-points."liftos.sources"]
    acme_ads = "acme_ads.source:create"

One that cannot be used is left out and told of in the log: it keeps nobody else from reading.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import structlog
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from liftos_ingestion.source_ports import Capabilities, PlatformSource
from liftos_mapping.entry_fields import DATE_BASES, LEVELS
from liftos_mapping.mapping import PlatformMapping

GROUP: Final = "liftos.sources"

_PLATFORM: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


def plugin_names() -> frozenset[str]:
    """Return the platforms that installed packages name; nothing is loaded."""
    return frozenset(point.name for point in entry_points(group=GROUP))


def load_plugins(
    taken: Collection[str], points: Iterable[EntryPoint] | None = None
) -> Mapping[str, PlatformSource]:
    """Return the plug-in sources that can be used, by platform.

    Args:
        taken: Platforms that have a source already.
        points: Entry points; None finds those that are installed.
    """
    found: dict[str, PlatformSource] = {}
    for point in entry_points(group=GROUP) if points is None else points:
        try:
            source: PlatformSource = point.load()()
            problems = source_problems(source)
        except Exception as error:
            # Whatever foreign code does when it is loaded.
            _log.exception("plugin_unusable", plugin=point.name, problem=type(error).__name__)
            continue
        if source.platform != point.name:
            problems.append(f"its platform is {source.platform}, its entry point {point.name}")
        if source.platform in taken or source.platform in found:
            problems.append("its platform has a source already")
        if problems:
            _log.error("plugin_unusable", plugin=point.name, problem="; ".join(problems))
            continue
        found[source.platform] = source
    return found


def source_problems(source: PlatformSource) -> list[str]:
    """Return what a source says of itself that cannot be; nothing where all is well.

    Raises:
        AttributeError: It does not say all that a source has to.
    """
    problems = []
    if not _PLATFORM.fullmatch(source.platform):
        problems.append("platform is a lower case letter, then letters, digits and underscores")
    if not 1 <= len(source.display_name) <= 200:
        problems.append("display_name has 1 to 200 characters")
    for name in ("credential_schema", "settings_schema"):
        try:
            Draft202012Validator.check_schema(getattr(source, name))
        except SchemaError as error:
            problems.append(f"{name} is no JSON Schema: {error.message}")
    if not isinstance(source.mapping, PlatformMapping):
        problems.append("mapping is a PlatformMapping; compile_mapping makes one of a document")
    elif source.mapping.grouping is not None:
        problems.append("mapping groups rows, which a source has to do itself; give its grouped()")
    elif source.mapping.platform != source.platform:
        problems.append("mapping gives entries of another platform")
    return problems + _capability_problems(source.capabilities)


def _capability_problems(given: Capabilities) -> list[str]:
    problems = []
    if not given.levels or set(given.levels) - set(LEVELS):
        problems.append(f"capabilities.levels has some of {', '.join(LEVELS)}")
    if not given.date_bases or set(given.date_bases) - set(DATE_BASES):
        problems.append(f"capabilities.date_bases has some of {', '.join(DATE_BASES)}")
    if given.restatement_days < 0 or given.retention_days < 0 or given.days_per_read < 1:
        problems.append("capabilities: no days are negative, and a reading takes one at least")
    if given.totals and "ACCOUNT" not in given.levels:
        problems.append("capabilities.totals needs the level ACCOUNT")
    return problems
