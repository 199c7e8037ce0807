"""The Google Ads API, v26, over gRPC and REST, as a simulator."""
