"""The page in which bpnet computes: its state, answers in JSON, its local server, its front."""

from bpnet.words import table

SAID = table("page/page.toml")
