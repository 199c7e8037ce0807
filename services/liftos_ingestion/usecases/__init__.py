"""What Ingestion does, in terms of its ports."""
