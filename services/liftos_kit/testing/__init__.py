"""Help for tests of services: servers in the test's own process, tokens, and a clock to set."""
