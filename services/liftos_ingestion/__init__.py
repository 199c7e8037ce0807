"""LiftOS Ingestion: will serve `liftos.ingestion.v1.IngestionService`, which reads platforms."""
