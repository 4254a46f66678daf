"""Another throat and room for the same words: pitch, formants, colour and noise of speech changed, its timing kept.

What an encoder hears is then no guide to who speaks, while the decoder's target stays the recording [arXiv 2110.14513
§2.2, arXiv 2204.09224 §3.1]. Analysis and synthesis are WORLD's, which separates pitch from spectral envelope.
"""

# T samples, N frames of 5 ms, F frequencies.

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.config import PerturbationConfig
from vqspeech.errors import CorpusError

FRAME_MS = 5.0
LEAST_RATE = 16000  # Hz; WORLD looks for voicing up to 7.9 kHz
PITCH_HZ = (60.0, 500.0)  # sought after
EQUALIZER_OCTAVES = 1.0  # between the bands whose gains are drawn
FAINTEST_NOISE_DB = 50.0  # signal-to-noise ratio, the other end of what is drawn
STEEPEST_NOISE_DB = 6.0  # fall of its power an octave: Brownian


@dataclass(frozen=True)
class Variation:
    """One way to change a voice.

    Attributes
    ----------
    pitch : factor of the fundamental
    pitch_range : factor of its excursions around its median, in octaves
    formants : factor of all frequencies of the spectral envelope
    equalizer_db : gains, dB, of bands one octave apart, the first at 62.5 Hz
    noise_snr_db : of the noise that is added, over all frequencies, also those below hearing; None for no noise
    noise_tilt_db : fall of its power an octave: 0 white, 3 pink, 6 Brownian
    """

    pitch: float = 1.0
    pitch_range: float = 1.0
    formants: float = 1.0
    equalizer_db: tuple[float, ...] = ()
    noise_snr_db: float | None = None
    noise_tilt_db: float = 0.0

    @property
    def is_same_voice(self) -> bool:
        """Whether nothing but noise is new: speech then need not be analysed."""
        return self.pitch == self.pitch_range == self.formants == 1.0 and not any(self.equalizer_db)


def draw_variation(config: PerturbationConfig, random: np.random.Generator) -> Variation:
    """Factors uniform on a logarithmic scale between their limits up and down; gains and noise uniform in dB."""
    pitch, spread, formants = random.uniform(-1, 1, 3)
    gains = random.uniform(-1, 1, 8)  # 62.5 Hz to 8 kHz; those above half the rate do nothing
    least = config.noise_snr_db
    return Variation(
        pitch=2 ** (config.pitch_semitones / 12 * pitch),
        pitch_range=config.pitch_range**spread,
        formants=config.formants**formants,
        equalizer_db=tuple((config.equalizer_db * gains).tolist()),
        noise_snr_db=None if least is None else random.uniform(least, FAINTEST_NOISE_DB),
        noise_tilt_db=0.0 if least is None else random.uniform(0, STEEPEST_NOISE_DB),
    )


@dataclass(frozen=True)
class WorldParameters:
    """What WORLD analyses speech into.

    Attributes
    ----------
    pitch : (N,) Hz, 0 where unvoiced
    envelope : (N, F) power
    aperiodicity : (N, F), shares of it
    """

    pitch: NDArray[np.float64]
    envelope: NDArray[np.float64]
    aperiodicity: NDArray[np.float64]


class VocodedUtterance:
    """An utterance that WORLD analyses at most once, to be synthesized in many ways.

    Parameters
    ----------
    wav : array, shape (T,), in [-1, 1]
    sample_rate : Hz
    """

    def __init__(self, wav: NDArray[np.floating], sample_rate: int) -> None:
        self.length, self.sample_rate = len(wav), sample_rate
        self.rate = max(sample_rate, LEAST_RATE)
        self.wav = np.asarray(wav, np.float64)
        self.level = float(np.sqrt(np.mean(np.square(self.wav)))) if len(wav) else 0.0

    @cached_property
    def parameters(self) -> WorldParameters:
        """Analysed when first asked for."""
        import soxr

        world = load_world()
        x = self.wav
        x = soxr.resample(x, self.sample_rate, self.rate, quality="VHQ") if self.rate != self.sample_rate else x
        rough, times = world.dio(x, self.rate, f0_floor=PITCH_HZ[0], f0_ceil=PITCH_HZ[1], frame_period=FRAME_MS)
        pitch = world.stonemask(x, rough, times, self.rate)
        return WorldParameters(
            pitch, world.cheaptrick(x, pitch, times, self.rate), world.d4c(x, pitch, times, self.rate)
        )

    def resynthesize(self, variation: Variation, random: np.random.Generator | None = None) -> NDArray[np.float32]:
        """The utterance, shape (T,), in another voice, as loud as it was before the noise; silence stays silence.

        Parameters
        ----------
        variation : what is changed
        random : draws the noise, where there is some
        """
        if not self.level:
            return np.zeros(self.length, np.float32)
        wav = self.wav if variation.is_same_voice else self._synthesize(variation)
        if variation.noise_snr_db is not None:
            assert random is not None, "noise has to be drawn"
            noise = coloured_noise(self.length, variation.noise_tilt_db, random)
            wav = wav + self.level * 10 ** (-variation.noise_snr_db / 20) * noise
        return wav.astype(np.float32)

    def _synthesize(self, variation: Variation) -> NDArray[np.float64]:
        import soxr

        parameters = self.parameters
        wav = load_world().synthesize(
            scale_pitch(parameters.pitch, variation.pitch, variation.pitch_range),
            np.ascontiguousarray(
                warp_envelope(parameters.envelope, variation.formants) * self._gains(variation.equalizer_db)
            ),
            np.ascontiguousarray(parameters.aperiodicity),
            self.rate,
            FRAME_MS,
        )
        if self.rate != self.sample_rate:
            wav = soxr.resample(wav, self.rate, self.sample_rate, quality="VHQ")
        wav = np.pad(wav, (0, max(0, self.length - len(wav))))[: self.length]
        return wav * (self.level / max(float(np.sqrt(np.mean(np.square(wav)))), 1e-9))

    def _gains(self, equalizer_db: tuple[float, ...]) -> NDArray[np.float64]:
        """Factors (F,) of power."""
        if not equalizer_db:
            return np.ones(self.parameters.envelope.shape[1])
        frequencies = np.linspace(0, self.rate / 2, self.parameters.envelope.shape[1])
        octaves = np.log2(np.maximum(frequencies, 1.0) / 62.5)
        bands = EQUALIZER_OCTAVES * np.arange(len(equalizer_db))
        return 10 ** (np.interp(octaves, bands, equalizer_db) / 10)


def coloured_noise(length: int, tilt_db: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Gaussian noise (length,) of RMS 1 whose power falls by `tilt_db` an octave; it has no mean unless it is white.

    It falls from the lowest frequency that the length holds: the steeper and the longer, the less of it is heard.
    """
    noise = random.normal(size=length)
    if tilt_db and length > 1:
        spectrum = np.fft.rfft(noise)
        octaves = np.log2(np.maximum(np.arange(len(spectrum)), 1))
        spectrum *= 10 ** (-tilt_db / 20 * octaves)
        spectrum[0] = 0.0
        noise = np.fft.irfft(spectrum, length)
    return noise / max(float(np.sqrt(np.mean(np.square(noise)))), 1e-9)


def scale_pitch(pitch: NDArray[np.float64], factor: float, pitch_range: float) -> NDArray[np.float64]:
    """Pitch (N,) times a factor, its distances from its median in octaves times another; unvoiced frames stay 0."""
    voiced = pitch > 0
    if not voiced.any():
        return pitch.copy()
    median = np.median(pitch[voiced])
    bent = np.zeros_like(pitch)
    bent[voiced] = np.clip(median * factor * (pitch[voiced] / median) ** pitch_range, 40.0, 1000.0)
    return bent


def warp_envelope(envelope: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Move what an envelope (N, F) has at frequency f to f x factor; the topmost value fills what comes from beyond."""
    places = np.arange(envelope.shape[1]) / factor
    lower = np.minimum(places.astype(int), envelope.shape[1] - 2)
    weight = np.minimum(places - lower, 1.0)
    # In between on a logarithmic scale: a formant's flanks are straighter there.
    logs = np.log(envelope + 1e-16)
    return np.exp((1 - weight) * logs[:, lower] + weight * logs[:, lower + 1])


def load_world() -> Any:
    """pyworld.

    Raises
    ------
    CorpusError
        If it is not installed.
    """
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks pkg_resources for its own version
            import pyworld
    except ImportError as reason:
        raise CorpusError(
            f"perturbation needs pyworld, which cannot be imported ({reason}). Install it with: pip install "
            "'vqspeech[perturb]', or set perturbation.share=0 and perturbation.decoder_share=0"
        ) from None
    return pyworld
