"""Errors a user can cause and mend: each message says what was seen, what was expected, what to do.

The command line prints the sentence without a traceback and exits with 1. Mistakes of our own stay `AssertionError`.
"""

from __future__ import annotations


class VQSpeechError(Exception):
    """Base of all errors whose message is meant for the user."""

    num_files = 1  # that the message is about


class AudioError(VQSpeechError):
    """A recording cannot be read, is unusable, or cannot be written."""


class CorpusError(VQSpeechError):
    """A corpus folder or manifest is missing, empty or not laid out as expected."""


class RecipeError(VQSpeechError):
    """A recipe is missing, misspelt or holds an impossible value."""


class CheckpointError(VQSpeechError):
    """A model file is missing, truncated, from another version, or not ours."""


class CodesError(VQSpeechError):
    """A file of codes is unreadable or does not belong to the model."""


class UnknownSpeakerError(VQSpeechError):
    """The model has no such speaker."""


class RunError(VQSpeechError):
    """A run folder is in use, cannot be resumed, or does not fit the recipe."""


class TrainingError(VQSpeechError):
    """Training stopped with a diagnosis: collapse, ignored codes, a loss that is not finite."""


class ListeningTestError(VQSpeechError):
    """A listening test cannot be made from what is at hand, or its files or results do not fit."""


class DependencyError(VQSpeechError):
    """An optional package is missing or its compiled part does not load."""

    @property
    def is_installed(self) -> bool:
        """Whether the package is there and does not load, or lacks its weights, as far as the cause tells."""
        return not isinstance(self.__cause__, ModuleNotFoundError)
