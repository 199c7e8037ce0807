"""The client of Memory, the one store of marketing data."""

from liftos_client.memory.calendar import CalendarMethods
from liftos_client.memory.entries import EntryMethods
from liftos_client.memory.exports import ExportMethods
from liftos_client.memory.insight_routes import InsightRouteMethods
from liftos_client.memory.insights import InsightMethods
from liftos_client.memory.metrics import MetricsMethods
from liftos_client.memory.records import RecordMethods
from liftos_client.memory.search import SearchMethods
from liftos_client.memory.settings import SettingsMethods


class MemoryClient(
    EntryMethods,
    MetricsMethods,
    ExportMethods,
    SearchMethods,
    InsightMethods,
    InsightRouteMethods,
    CalendarMethods,
    RecordMethods,
    SettingsMethods,
):
    """Every method of Memory's contract, with keyword arguments.

    Names are taken whole (`orgs/acme/entries/…`) or as ids alone; enums as the generated values or
    as their short words ("CAMPAIGN"); dates as `datetime.date` or as text. Lists are read with
    `async for`, and fetched while they are read. Every method takes `timeout_seconds`.
    """
