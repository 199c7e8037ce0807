"""What Migration does, on ports."""
