"""Secret values: how they are held, encrypted at rest, and found where they are kept."""
