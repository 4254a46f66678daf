"""What speech units are scored by, and the files they are handed on in; arrays in, numbers out.

- `abx_error`, `make_items`, `read_items`, `write_items`: ABX discriminability as in ZeroSpeech (`abx`, `items`).
- `phone_normalised_information`, `cluster_purity`, `phone_purity`, `bit_rate`, `deduplicate` (`quality`).
- `compare_boundaries`, `edit_distance`: phoneme error rate and R-value (`segmentation`).
- `encode_recordings`, `write_units`: unit sequences of recordings, for benchmarks and language models (`encoding`,
  `files`).
"""

from vqspeech.units.abx import Limits, Scores, abx_error, plan_task, score_task
from vqspeech.units.dtw import distance_table
from vqspeech.units.encoding import Encoded, encode_recordings
from vqspeech.units.files import FORMATS, UnitsWriter, write_units
from vqspeech.units.items import Item, make_items, read_items, write_items
from vqspeech.units.phones import Phone, fill_gaps, frame_labels, inventory_of, merge_equal, plain_name
from vqspeech.units.quality import bit_rate, cluster_purity, deduplicate, phone_normalised_information, phone_purity
from vqspeech.units.segmentation import Boundaries, compare_boundaries, edit_distance

__all__ = [
    "FORMATS", "Boundaries", "Encoded", "Item", "Limits", "Phone", "Scores", "UnitsWriter", "abx_error", "bit_rate",
    "cluster_purity", "compare_boundaries", "deduplicate", "distance_table", "edit_distance", "encode_recordings",
    "fill_gaps", "frame_labels", "inventory_of", "make_items", "merge_equal", "phone_normalised_information",
    "phone_purity", "plain_name", "plan_task", "read_items", "score_task", "write_items", "write_units",
]  # fmt: skip
