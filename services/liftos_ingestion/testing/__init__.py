"""What tests of a source need: the rules that every source keeps, and a platform to break."""
