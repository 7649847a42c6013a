"""The command ``bpnet``: `main` and one module a command."""
