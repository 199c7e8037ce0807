"""The mapping language, the platforms' mappings and the shape of an entry; pure code."""
