"""Another speaker's voice: for waveforms and codes in memory (`sound`), for files (`files`), by parts (`parts`)."""

from vqspeech.conversion.convert import Request, convert, convert_many, convert_stream, decode
from vqspeech.conversion.files import convert_file, convert_files, decode_file
from vqspeech.conversion.jobs import Job, plan_jobs, target_name
from vqspeech.conversion.options import SamplingOptions

__all__ = [
    "Job",
    "Request",
    "SamplingOptions",
    "convert",
    "convert_file",
    "convert_files",
    "convert_many",
    "convert_stream",
    "decode",
    "decode_file",
    "plan_jobs",
    "target_name",
]
