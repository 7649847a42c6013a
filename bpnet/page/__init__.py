"""The page in which bpnet computes: its state, answers in JSON, its local server, its front."""

import tomllib
from pathlib import Path

SAID = tomllib.loads(Path(__file__).with_name("page.toml").read_text(encoding="utf-8"))
