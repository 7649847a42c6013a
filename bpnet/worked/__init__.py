"""The worked solution of a step of gradient descent: every number, its formula, and its line."""
