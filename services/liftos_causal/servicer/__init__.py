"""The gRPC service, in parts."""
