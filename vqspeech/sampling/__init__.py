"""Sampling from a WaveNet, sample by sample.

`interface` says what an engine is, `engines.get_engine` finds one by name. `reference` runs the WaveNet's own step form
in torch. `compiled` runs `kernel`, compiled by numba for CPUs, on weights and memory as `layout` lays them out; `tile`
holds its matrix products, `arithmetic` what lies between them. All engines share `rules` (how a class is drawn) and
`random` (every sample's number by seed, utterance and index). `scheduler` draws many streams in a few threads.
"""
