"""What Memory does, in terms of its ports."""
