"""What Memory is connected to: stores, models and the network, each behind a port."""
