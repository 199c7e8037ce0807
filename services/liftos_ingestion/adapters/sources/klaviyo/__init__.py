"""Klaviyo: e-mail and text campaigns and flows."""

from liftos_ingestion.adapters.sources.klaviyo.source import KlaviyoSource

__all__ = ["KlaviyoSource"]
