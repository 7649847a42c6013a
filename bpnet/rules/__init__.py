"""Mathematics that knows no network: a table of rules each, and beside it the rules in place."""
