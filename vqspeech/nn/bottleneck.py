"""Discrete bottlenecks behind one interface: the paper's loss, or exponential moving averages.

Every bottleneck takes encoder outputs and a mask of real frames and returns a `Quantized`.
"""

# B batch, N code frames, M real frames among them, D code dimension, K codebook entries.

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqspeech.distributed import all_reduce_sum, broadcast
from vqspeech.nn.norm import FrameNorm


class Quantized(NamedTuple):
    """What a bottleneck returns."""

    z_q: Tensor  # (B, N, D), gradients pass straight through to z_e
    codes: Tensor  # (B, N) in [0, K)
    codebook_loss: Tensor  # ||sg[z_e] - e||^2, mean over D and real frames; 0 where averages move the codebook
    commitment_loss: Tensor  # ||z_e - sg[e]||^2, likewise


class VectorQuantizer(nn.Module):
    """Nearest codebook entry, straight-through gradients, codebook moved by its loss [VQ-VAE §3.2].

    Parameters
    ----------
    num_codes, code_dim : int
        K and D.
    normalize : {"none", "batch", "sphere"}
        Give z_e zero mean and unit variance over frames, or unit length, before quantization.
    restart_below : float
        A code used less than this share of the uniform usage restarts at a random encoder output; 0 never restarts.
    usage_decay : float
        Decay of the running usage, and of the averages in `EMAQuantizer`.
    """

    codebook: nn.Parameter | Tensor
    usage: Tensor
    updates: Tensor

    def __init__(
        self, num_codes: int, code_dim: int, normalize: str, restart_below: float, usage_decay: float = 0.99
    ) -> None:
        super().__init__()
        self.num_codes = num_codes
        self.normalize = normalize
        self.restart_below = restart_below
        self.decay = usage_decay
        self.norm = FrameNorm(code_dim) if normalize == "batch" else None
        self.register_buffer("usage", torch.ones(num_codes))  # running share of frames, 1 = uniform
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self._make_codebook(torch.empty(num_codes, code_dim).uniform_(-1 / num_codes, 1 / num_codes))

    def _make_codebook(self, values: Tensor) -> None:
        self.codebook = nn.Parameter(values)

    def prepare(self, z_e: Tensor, mask: Tensor | None = None) -> Tensor:
        """z_e as it is compared with the codebook: normalised as asked for."""
        if self.norm is not None:
            return self.norm(z_e, mask)
        return F.normalize(z_e.float(), dim=-1) if self.normalize == "sphere" else z_e.float()

    def nearest(self, z: Tensor) -> Tensor:
        """Index of the nearest entry for each of (..., D), by Euclidean distance [VQ-VAE eq. 1]."""
        e = self.codebook
        # ||z - e||^2 = ||z||^2 - 2 z.e + ||e||^2; the first term does not change the argmin.
        return (e.pow(2).sum(-1) - 2 * z @ e.t()).argmin(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Codebook entries of codes: (...) -> (..., D)."""
        return F.embedding(codes, self.codebook)

    def encode(self, z_e: Tensor) -> Tensor:
        """Codes (B, N) of encoder outputs (B, N, D)."""
        with torch.autocast(z_e.device.type, enabled=False):  # distances lose their order in bfloat16
            return self.nearest(self.prepare(z_e))

    def forward(self, z_e: Tensor, mask: Tensor, continuous: bool = False) -> Quantized:
        """Quantize (B, N, D); `mask` (B, N) names the frames that count.

        `continuous` only normalises, for the first steps of a training: an encoder that has not learned anything gives
        vectors in which k-means finds no codebook worth having.
        """
        with torch.autocast(z_e.device.type, enabled=False):  # as in `encode`
            z = self.prepare(z_e, mask)
            if continuous:
                zero = z.new_zeros(())
                return Quantized(z, torch.zeros_like(mask, dtype=torch.long), zero, zero)
            with torch.no_grad():
                codes = self.nearest(z)
            e = self.lookup(codes)
            codebook_loss = self._codebook_loss(z[mask].detach(), e[mask])
            commitment_loss = (z[mask] - e[mask].detach()).pow(2).mean()
            if self.training:
                self._update(z[mask].detach(), codes[mask])
            # Straight-through: copy gradients past the argmin [VQ-VAE §3.2].
            z_q = z + (e - z).detach()
        return Quantized(z_q, codes, codebook_loss, commitment_loss)

    @torch.no_grad()
    def initialise(self, z_e: Tensor, seed: int) -> None:
        """Set the codebook to the k-means centres of encoder outputs (M, D), M at least K.

        A codebook of another scale than the encoder's outputs leaves most codes dead from the first step.
        """
        from sklearn.cluster import KMeans

        assert len(z_e) >= self.num_codes, f"{len(z_e)} vectors for {self.num_codes} codes"
        z = self.prepare(z_e[None])[0].cpu().numpy()
        centres = KMeans(self.num_codes, n_init=1, max_iter=20, random_state=seed).fit(z).cluster_centers_
        entries = broadcast(torch.from_numpy(centres).to(self.codebook))  # each process has seen other frames
        self._set_entries(torch.ones(self.num_codes, dtype=torch.bool), entries)

    def _codebook_loss(self, z: Tensor, e: Tensor) -> Tensor:
        return (z - e).pow(2).mean()

    @torch.no_grad()
    def _update(self, z: Tensor, codes: Tensor) -> None:
        """Follow the usage of codes with (M, D) vectors and their (M,) codes, and restart the dead ones."""
        counts = all_reduce_sum(torch.bincount(codes, minlength=self.num_codes).to(z))
        self.usage.lerp_(counts * (self.num_codes / counts.sum().clamp(min=1)), 1 - self.decay)
        self._move(z, codes, counts)
        self.updates += 1
        dead = self.usage < self.restart_below
        if dead.any():
            # Counter-based: the choice depends on the update's number alone, so a resumed run repeats it.
            generator = torch.Generator().manual_seed(int(self.updates))
            chosen = torch.randint(len(z), (int(dead.sum()),), generator=generator).to(z.device)
            self._set_entries(dead, broadcast(z[chosen].contiguous()))
            self.usage[dead] = 1.0

    def _move(self, z: Tensor, codes: Tensor, counts: Tensor) -> None:
        """Nothing: the optimiser moves this codebook."""

    def _set_entries(self, which: Tensor, values: Tensor) -> None:
        self.codebook.data[which.to(values.device)] = values


class EMAQuantizer(VectorQuantizer):
    """Codebook entries are moving averages of the vectors assigned to them [VQ-VAE appendix A.1]."""

    ema_count: Tensor
    ema_sum: Tensor

    def _make_codebook(self, values: Tensor) -> None:
        self.register_buffer("codebook", values)
        self.register_buffer("ema_count", torch.ones(self.num_codes))
        self.register_buffer("ema_sum", values.clone())

    def _codebook_loss(self, z: Tensor, e: Tensor) -> Tensor:
        return z.new_zeros(())

    def _move(self, z: Tensor, codes: Tensor, counts: Tensor) -> None:
        sums = all_reduce_sum(torch.zeros_like(self.ema_sum).index_add_(0, codes, z))
        self.ema_count.lerp_(counts, 1 - self.decay)  # N_i of eq. 6
        self.ema_sum.lerp_(sums, 1 - self.decay)  # m_i of eq. 7
        # Laplace smoothing on use keeps rarely used entries finite without biasing the stored counts (as Sonnet does).
        total = self.ema_count.sum()
        smoothed = (self.ema_count + 1e-5) / (total + self.num_codes * 1e-5) * total
        self.codebook.copy_(self.ema_sum / smoothed[:, None])
        if self.normalize == "sphere":
            self.codebook.copy_(F.normalize(self.codebook, dim=-1))

    def _set_entries(self, which: Tensor, values: Tensor) -> None:
        super()._set_entries(which, values)
        self.ema_count[which] = self.ema_count.mean()
        self.ema_sum[which] = values * self.ema_count[which][:, None]


def make_bottleneck(
    kind: str, num_codes: int, code_dim: int, normalize: str, ema_decay: float, restart_below: float
) -> VectorQuantizer:
    """The bottleneck a recipe names: "vq" or "vq-ema"."""
    family = {"vq": VectorQuantizer, "vq-ema": EMAQuantizer}[kind]
    return family(num_codes, code_dim, normalize, restart_below, ema_decay)
