"""Core, through its clients: numbers by `UnifiedDataAPI`, records as artifacts."""
