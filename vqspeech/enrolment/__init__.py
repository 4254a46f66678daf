"""A new voice for a trained model: one vector fitted to recordings, everything else left as it is."""

from vqspeech.enrolment.new_voice import Enrolment, enroll

__all__ = ["Enrolment", "enroll"]
