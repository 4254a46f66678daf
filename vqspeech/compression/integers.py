"""The prior in whole numbers: the same probabilities to the last bit on every machine.

Who expands a file has to find the very tables it was compressed with, and float noise of 1e-6 already changes some. So
weights and activations are fixed-point numbers in int64: sums and products are exact, and neither the order of a sum
nor vector width, number of threads or shape of a batch can change them. tanh, sigmoid and exp are ours, of shifts,
products and one division. The bound of every sum is checked once, when the weights are loaded: nothing overflows.
"""

# T positions, R residual channels, S skip channels, L layers, K codes.

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vqspeech.errors import CheckpointError
from vqspeech.models.prior import Prior

Integers = NDArray[np.int64]

ACTIVATION_BITS = 16  # behind the binary point
WEIGHT_BITS = 20
SUM_BITS = ACTIVATION_BITS + WEIGHT_BITS
LARGEST_ACTIVATION = 1 << (ACTIVATION_BITS + 10)  # activations are held within +-1024
ONE_BITS = 30  # of exp's results
ONE = 1 << ONE_BITS
TABLE_BITS = 24  # the coder's probabilities are multiples of 2^-24

# Written out, not computed: libraries differ in the last digit of a logarithm.
LOG2_E = 1549082005  # log2(e), ONE_BITS behind the point
# (-ln 2)^k / k!, k = 0 ... 10, ONE_BITS behind the point: 2^-f of f in [0, 1) to 1e-9.
POWER_SERIES = (1073741824, -744261118, 257941248, -59597083, 10327387, -1431680, 165394, -16377, 1419, -109, 8)
HALF_ROOT = 741455  # sqrt(1 / 2), WEIGHT_BITS behind the point


def exp_negative(t: Integers) -> Integers:
    """e^-t in units of 2^-30, of t >= 0 in units of 2^-16; the error is below 1e-7 of one.

    Examples
    --------
    >>> round(float(exp_negative(np.array([1 << 16]))[0]) / 2**30, 6)
    0.367879
    """
    exponent = (np.minimum(t, 64 << ACTIVATION_BITS) * LOG2_E) >> ACTIVATION_BITS
    fraction = exponent & (ONE - 1)
    power = np.full_like(fraction, POWER_SERIES[-1])
    for coefficient in POWER_SERIES[-2::-1]:
        power = ((power * fraction) >> ONE_BITS) + coefficient
    return power >> np.minimum(exponent >> ONE_BITS, 62)


def tanh(x: Integers) -> Integers:
    """Of and in units of 2^-16."""
    e = exp_negative(2 * np.abs(x))
    return np.sign(x) * ((((ONE - e) << ACTIVATION_BITS) + ((ONE + e) >> 1)) // (ONE + e))


def sigmoid(x: Integers) -> Integers:
    """Of and in units of 2^-16."""
    e = exp_negative(np.abs(x))
    return (((np.where(x < 0, e, ONE)) << ACTIVATION_BITS) + ((ONE + e) >> 1)) // (ONE + e)


def product(x: Integers, weight: Integers, offset: Integers) -> Integers:
    """`x @ weight + offset`, rounded to activations and held within their bounds.

    numpy multiplies integers by its own loops, not by BLAS; the result is exact in any case.
    """
    rounded = (x @ weight + offset + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS
    return np.clip(rounded, -LARGEST_ACTIVATION, LARGEST_ACTIVATION)


def scale(x: Integers, factor: int) -> Integers:
    """`x` times a factor with WEIGHT_BITS behind the point, rounded."""
    return (x * factor + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS


def share_out(weights: Integers, total: int) -> Integers:
    """Split `total` in proportion to weights (T, K), in whole numbers; what rounding leaves goes to the largest.

    Examples
    --------
    >>> share_out(np.array([[1, 1, 1]]), 10)
    array([[4, 3, 3]])
    """
    shares = weights * total // weights.sum(axis=1, keepdims=True)
    shares[np.arange(len(shares)), weights.argmax(axis=1)] += total - shares.sum(axis=1)
    return shares


class IntegerPrior:
    """One utterance's probabilities, in the order of its codes.

    Parameters
    ----------
    prior : Prior
    speaker : its number, or None for no speaker

    Raises
    ------
    CheckpointError
        If a weight is not finite or so large that a sum could overflow.
    """

    def __init__(self, prior: Prior, speaker: int | None) -> None:
        wavenet = prior.wavenet
        weights = {name: tensor.detach().cpu().double().numpy() for name, tensor in wavenet.state_dict().items()}
        self.num_codes, self.start = prior.num_codes, prior.start
        self._dilations = wavenet.dilations
        self._embedding = _fixed(weights["embedding.weight"], ACTIVATION_BITS)
        _check(self._embedding, LARGEST_ACTIVATION)
        channels = self._embedding.shape[1]

        def matrix(name: str, largest: int = LARGEST_ACTIVATION) -> tuple[Integers, Integers]:
            weight = _fixed(weights[f"{name}.weight"].T, WEIGHT_BITS)
            offset = _fixed(weights.get(f"{name}.bias", np.zeros(weight.shape[1])), SUM_BITS)
            _check(np.abs(weight).sum(axis=0) * float(largest) + np.abs(offset), 2**62)
            return weight, offset

        # A row of an embedding, thus the same numbers wherever it is read.
        condition = _fixed(prior.condition(speaker).detach().cpu().double().numpy(), ACTIVATION_BITS)  # (1, C)
        _check(condition, LARGEST_ACTIVATION)
        conditions = product(condition, *matrix("condition")).reshape(len(self._dilations), 2 * channels)
        self._offsets = conditions << WEIGHT_BITS  # (L, 2R), as sums
        self._past, self._present, self._residual = [], [], []
        for layer in range(len(self._dilations)):
            self._past.append(matrix(f"layers.{layer}.past")[0])
            self._present.append(matrix(f"layers.{layer}.present")[0])
            _check(
                (np.abs(self._past[-1]) + np.abs(self._present[-1])).sum(axis=0) * float(LARGEST_ACTIVATION)
                + np.abs(self._offsets[layer]),
                2**62,
            )
            name = f"layers.{layer}.residual"
            self._residual.append(matrix(name) if f"{name}.weight" in weights else None)
        skip, self._skip_offset = matrix("skip", largest=1 << ACTIVATION_BITS)  # |tanh sigmoid| <= 1
        self._skips = np.split(skip, len(self._dilations))
        self._root = round(2**WEIGHT_BITS / math.sqrt(len(self._dilations)))  # correctly rounded by IEEE 754
        self._hidden, self._head = matrix("head_hidden"), matrix("head")
        self._histories = [np.zeros((dilation, channels), np.int64) for dilation in self._dilations]

    def shares(self, previous: NDArray[np.integer]) -> Integers:
        """Probabilities of the next positions, that none of them is the end.

        Parameters
        ----------
        previous : integer array, shape (T,), the code one position earlier; before the first, `start`

        Returns
        -------
        shares : shape (T, K), >= 0; each row sums to 2^24 - K, so that with 1 added to all it is a table of the coder
        """
        logits = self._advance(np.asarray(previous, np.int64))[:, : self.num_codes]  # the stop symbol comes last
        likelihoods = exp_negative(logits.max(axis=1, keepdims=True) - logits)
        return share_out(likelihoods, (1 << TABLE_BITS) - self.num_codes)

    def _advance(self, previous: Integers) -> Integers:
        """Logits (T, K + 1), in units of 2^-16."""
        x = self._embedding[previous]  # (T, R)
        sums = np.broadcast_to(self._skip_offset, (len(x), len(self._skip_offset)))
        for layer, history in enumerate(self._histories):
            inputs = np.concatenate([history, x])
            self._histories[layer] = inputs[len(x) :]
            past = inputs[: len(x)] @ self._past[layer]
            gates = product(x, self._present[layer], past + self._offsets[layer])
            filtered, opening = np.split(gates, 2, axis=1)
            gated = (tanh(filtered) * sigmoid(opening) + (1 << (ACTIVATION_BITS - 1))) >> ACTIVATION_BITS
            sums = sums + gated @ self._skips[layer]
            if (residual := self._residual[layer]) is not None:
                x = np.clip(scale(x + product(gated, *residual), HALF_ROOT), -LARGEST_ACTIVATION, LARGEST_ACTIVATION)
        skips = scale(np.clip(sums >> WEIGHT_BITS, -LARGEST_ACTIVATION, LARGEST_ACTIVATION), self._root)
        hidden = product(np.maximum(skips, 0), *self._hidden)
        return product(np.maximum(hidden, 0), *self._head)


def _fixed(values: NDArray[np.float64], bits: int) -> Integers:
    """Rounded to units of 2^-bits; a product with a power of two and the rounding are exact."""
    scaled = np.rint(values * 2.0**bits)
    _check(scaled, 2**62)
    return scaled.astype(np.int64)


def _check(bounds: NDArray[np.generic], limit: float) -> None:
    if not (np.abs(bounds) <= limit).all():
        raise CheckpointError(
            "the prior's weights are not finite, or too large for whole numbers: its training went wrong. "
            "Train it again: vqspeech train RECIPE --stage prior"
        )
