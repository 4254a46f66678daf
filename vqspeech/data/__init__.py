"""From recordings to batches: `corpora` finds utterances, `preparation` writes a store, `batches` draws crops.

Import the modules themselves; only `batches` needs torch.
"""
