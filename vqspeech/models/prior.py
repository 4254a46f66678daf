"""The prior over codes: the decoder's WaveNet, with a start and a stop symbol, and a speaker or none [VQ-VAE §4.3]."""

# B utterances, N codes, K codebook entries, C conditioning channels.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqspeech.config import Recipe
from vqspeech.models.identity import weights_digest
from vqspeech.nn.wavenet import WaveNet


class Prior(nn.Module):
    """WaveNet over codes with start and stop symbols, p(z_n | z_<n, speaker) [VQ-VAE §4.3].

    The codes are 0 ... K - 1. As the previous class, K says that an utterance begins; as the predicted one, that it
    ends: an utterance of N codes is N + 1 predictions.

    Parameters
    ----------
    recipe : Recipe
    num_codes : int, K
    speakers : sequence of str
        Names, in the order of the VQ-VAE's one-hot.

    Attributes
    ----------
    wavenet : WaveNet of K + 1 classes and K + 1 outputs
    start : the class before the first code
    stop : the output after the last code
    unconditional : the speaker's number that means none: p(z) instead of p(z | speaker)
    card : what the file it was loaded from says of it; None for one that was made in memory
    """

    card: Any = None

    def __init__(self, recipe: Recipe, num_codes: int, speakers: Sequence[str]) -> None:
        super().__init__()
        config = recipe.prior
        self.recipe = recipe
        self.num_codes = num_codes
        self.speakers = tuple(speakers)
        self.start = self.stop = num_codes
        self.unconditional = len(self.speakers)
        self.speaker_vectors = nn.Embedding(len(self.speakers) + 1, config.speaker_dim)
        self.wavenet = WaveNet(
            num_codes + 1,
            num_codes + 1,
            config.residual_channels,
            config.skip_channels,
            config.cycles,
            config.layers_per_cycle,
            config.speaker_dim,
        )

    @property
    def is_conditional(self) -> bool:
        """Whether the speaker matters."""
        return self.recipe.prior.conditional

    def receptive_field_s(self, code_rate: float) -> float:
        """Seconds of speech that a prediction sees, at `code_rate` codes per second."""
        return self.wavenet.receptive_field / code_rate

    def forward(
        self, codes: Tensor, speaker: Tensor, begins: bool = True, target: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Logits of every code and of the end, given the true past.

        Parameters
        ----------
        codes : LongTensor, shape (B, N), in [0, K); shorter utterances are filled up with any code
        speaker : LongTensor, shape (B,); from `unconditional` on: no speaker
        begins : bool
            Whether the first code is that of an utterance. If not, `codes` are what lies one position before each
            prediction, the start symbol or a code, and there are N predictions.
        target : what comes, and where that counts, one for each prediction; then mean -log p, nats, is returned

        Returns
        -------
        logits : Tensor, shape (B, N + 1, K + 1); position n predicts code n, and position N the stop symbol
        """
        previous = F.pad(codes, (1, 0), value=self.start) if begins else codes
        if not self.is_conditional:
            speaker = torch.full_like(speaker, self.unconditional)
        vectors = self.speaker_vectors(speaker.clamp(max=self.unconditional))
        condition = vectors[:, None]  # one frame serves all
        return self.wavenet.mean_nats(previous, condition, *target) if target else self.wavenet(previous, condition)

    def condition(self, speaker: int | None) -> Tensor:
        """The conditioning frame (1, C) of a speaker, the same for every code; None is no speaker.

        A voice that was enrolled later has a higher number than those of the training: to the prior it is no speaker.
        """
        number = self.unconditional if speaker is None or not self.is_conditional else min(speaker, self.unconditional)
        assert number >= 0, number
        return self.speaker_vectors.weight[number][None]

    def weights_id(self) -> str:
        """Hex digest of all weights: what one prior has compressed, no other can read."""
        return weights_digest(self)
