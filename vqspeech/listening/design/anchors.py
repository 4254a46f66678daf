"""Low-pass anchors of a MUSHRA test [ITU-R BS.1534-3 §5], and the noise that an attentive listener hears as bad."""

# T samples.
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Wav = NDArray[np.float32]

ANCHORS_HZ = 3500, 7000  # the Recommendation's low and mid anchor
# Below 16 kHz, where 7 kHz does not fit, the anchors lie at these shares of the Nyquist frequency: 1750 and 3000 Hz at
# a sample rate of 8 kHz.
SHARES = 0.4375, 0.75


def anchor_frequencies(sample_rate: int) -> tuple[int, ...]:
    """Cut-off frequencies of the two anchors, Hz, below the Nyquist frequency of a sample rate.

    Examples
    --------
    >>> anchor_frequencies(16000), anchor_frequencies(8000)
    ((3500, 7000), (1750, 3000))
    """
    if sample_rate >= 16000:
        return ANCHORS_HZ
    return tuple(round(share * sample_rate / 2) for share in SHARES)


def low_pass(wav: Wav, cutoff_hz: float, sample_rate: int) -> Wav:
    """Remove what lies above a frequency from a waveform (T,), without delay.

    A linear-phase filter that meets the Recommendation's mask for 3.5 kHz, scaled to the cut-off: within 0.1 dB up to
    it, 25 dB down at 8/7 and 50 dB down at 9/7 of it.
    """
    taps = low_pass_taps(cutoff_hz, sample_rate)
    from scipy.signal import fftconvolve

    return fftconvolve(wav.astype(np.float64), taps, mode="full")[len(taps) // 2 :][: len(wav)].astype(np.float32)


def low_pass_taps(cutoff_hz: float, sample_rate: int) -> NDArray[np.float64]:
    """Impulse response of `low_pass`, an odd number of taps."""
    from scipy.signal import firwin, kaiserord

    nyquist = sample_rate / 2
    stop = min(cutoff_hz * 8 / 7, (cutoff_hz + nyquist) / 2)  # fully down already where 25 dB are asked for
    num, beta = kaiserord(60.0, (stop - cutoff_hz) / nyquist)
    return firwin(num | 1, (cutoff_hz + stop) / 2, window=("kaiser", beta), fs=sample_rate)


def speech_shaped_noise(wav: Wav, sample_rate: int, seed: int) -> Wav:
    """Noise with the envelope of a recording (T,): it has the rhythm of speech and nothing that can be understood."""
    from scipy.ndimage import uniform_filter1d

    window = max(1, int(0.05 * sample_rate))
    envelope = np.sqrt(uniform_filter1d(np.square(wav, dtype=np.float64), window, mode="nearest").clip(0))
    return (envelope * np.random.default_rng(seed).standard_normal(len(wav))).astype(np.float32)
