"""Sampling from a WaveNet, sample by sample.

`engine` holds the interface and `get_engine`; `torch_engine` is the reference, `numba_engine` with its `layout` and
`kernel` the fast one for CPUs. What they share: `rules` (how a class is drawn) and `random` (every sample's number by
seed, utterance and index).
"""
