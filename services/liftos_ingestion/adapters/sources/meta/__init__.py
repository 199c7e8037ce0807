"""Meta Marketing (Insights)."""

from liftos_ingestion.adapters.sources.meta.source import MetaSource

__all__ = ["MetaSource"]
