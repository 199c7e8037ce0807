"""What Ingestion is connected to: stores, platforms and the network, each behind a port."""
