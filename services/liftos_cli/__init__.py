"""`liftos`, the command line of LiftOS Core.

Read `main.py` first (the table of commands), then `service_call.py` (the options that every command
with a server shares, and what becomes of errors). One module of `commands/` holds one noun; it is
imported when one of its commands runs, so that `liftos --help` answers at once.
"""
