"""LiftOS Memory: the one store of marketing entries, their search and their insights."""
