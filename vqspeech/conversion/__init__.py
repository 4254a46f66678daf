"""Another speaker's voice: for waveforms (`convert`, where the path begins), for codes (`decode`), for `files`."""

from vqspeech.conversion.codes import encode
from vqspeech.conversion.convert import Request, convert, convert_many, convert_stream
from vqspeech.conversion.decode import CodesRequest, decode, decode_many
from vqspeech.conversion.files import convert_file, convert_files, decode_file
from vqspeech.conversion.jobs import Job, plan_jobs, target_name
from vqspeech.conversion.options import SamplingOptions

__all__ = [
    "CodesRequest",
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
    "decode_many",
    "encode",
    "plan_jobs",
    "target_name",
]
