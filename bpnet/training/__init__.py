"""Training: `fit` is the door; each other module is one concern of it."""
