"""Migration on the wire: one part per area."""
