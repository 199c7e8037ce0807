"""Between messages of the contract and Memory's own values, both ways."""
