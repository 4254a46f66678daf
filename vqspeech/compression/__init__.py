"""Recordings as few bytes: codes, entropy-coded with the prior, and read again on any machine.

`integers` evaluates the prior in whole numbers, `coder` drives the range coder with its tables, `container` is the
file's header, `files` the way there and back.
"""

from vqspeech.compression.files import (
    choose_voice,
    compress,
    compress_file,
    decompress,
    decompress_file,
    read_compressed,
)

__all__ = ["choose_voice", "compress", "compress_file", "decompress", "decompress_file", "read_compressed"]
