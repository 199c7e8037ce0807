"""Google Ads: customers, their objects, and their numbers day by day."""

from liftos_ingestion.adapters.sources.google_ads.source import GoogleAdsSource

__all__ = ["GoogleAdsSource"]
