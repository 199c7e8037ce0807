"""What the module does, in terms of its ports."""
