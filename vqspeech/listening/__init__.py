"""Listening tests: from a model's sound to a statistically sound answer."""
