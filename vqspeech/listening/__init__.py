"""Listening tests: from a model's sound to a statistically sound answer."""

from __future__ import annotations

from typing import Literal

KindName = Literal["mos", "similarity", "abx", "preference", "mushra"]
