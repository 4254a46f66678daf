"""New utterances: the prior draws codes, the decoder speaks them [VQ-VAE §4.3].

`code_sampling` draws codes, `prompts` reads what they shall continue, `speech` has `sample`, which speaks them, and
`files` writes it all.
"""

from vqspeech.generation.code_sampling import CodeSamplingOptions, draw_codes
from vqspeech.generation.files import Generated, generate_files, plan_targets
from vqspeech.generation.prompts import read_prompt
from vqspeech.generation.speech import Sample, sample, speak_many

__all__ = [
    "CodeSamplingOptions",
    "Generated",
    "Sample",
    "draw_codes",
    "generate_files",
    "plan_targets",
    "read_prompt",
    "sample",
    "speak_many",
]
