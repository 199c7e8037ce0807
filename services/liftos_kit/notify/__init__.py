"""Messages to people, wherever they want to be told."""
