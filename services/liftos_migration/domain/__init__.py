"""What a migration is, in plain Python."""
