"""The fused step as a function that autograd knows: loss and gradients in one pass, on all threads."""

# B utterances, T positions, N conditioning frames, R residual channels, S skip channels, L layers, Q output classes.

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from vqspeech.nn.fused.layout import Gradients, Memory, Scratch, Shape, Weights, make_memory, make_scratch, pack
from vqspeech.nn.fused.passes import OPTIONS, train_utterance
from vqspeech.numba_cache import Kept
from vqspeech.vectors import HAS_BFLOAT16, LANES

TILE = 128  # positions; more do not stay in the first two levels of the cache, with fewer products are short
LEAST_LIKELY = -1e30  # logit of classes that fill up a vector
HERE = Path(__file__).parent
_RUN = Kept(
    train_utterance,
    [HERE.parent.parent / "vectors.py", *(HERE / f"{name}.py" for name in ("block", "layout", "passes", "rows"))],
    nogil=True,
    **OPTIONS,
)


class Parameters(NamedTuple):
    """A WaveNet's parameters as its modules have them, matrices as (outputs, inputs)."""

    embedding: Tensor
    skip: Tensor
    skip_bias: Tensor
    hidden: Tensor
    hidden_bias: Tensor
    head: Tensor
    head_bias: Tensor
    past: Sequence[Tensor]  # of L layers
    present: Sequence[Tensor]
    residual: Sequence[Tensor]  # of L - 1 layers

    @classmethod
    def of(cls, wavenet: Any) -> Parameters:
        """Those of a `nn.wavenet.WaveNet`, but for its conditioning's."""
        layers = list(wavenet.layers)
        return cls(
            wavenet.embedding.weight, wavenet.skip.weight, wavenet.skip.bias, wavenet.head_hidden.weight,
            wavenet.head_hidden.bias, wavenet.head.weight, wavenet.head.bias, [layer.past.weight for layer in layers],
            [layer.present.weight for layer in layers], [layer.residual.weight for layer in layers[:-1]],
        )  # fmt: skip

    def flat(self) -> list[Tensor]:
        """All of them, one after the other."""
        return [*self[:7], *self.past, *self.present, *self.residual]


def can_fuse(parameters: Parameters, *, bfloat16: bool) -> bool:
    """Whether the processor's vectors fit the network: channels have to fill them."""
    sizes = parameters.embedding.shape[1], parameters.skip.shape[0]
    is_cpu = parameters.embedding.device.type == "cpu"
    return is_cpu and not any(size % LANES for size in sizes) and len(parameters.past) > 1 and bfloat16 <= HAS_BFLOAT16


def takes(positions: int, frames: int) -> bool:
    """Whether a batch can go through it: bfloat16 takes positions in pairs."""
    return not torch.is_autocast_enabled("cpu") or positions // frames % 2 == 0


def mean_nats(wavenet: Any, previous: Tensor, condition: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """See `WaveNet.mean_nats`; `condition` is what each layer adds, and products are in the precision of autocast."""
    bfloat16 = torch.is_autocast_enabled("cpu")
    return fused_cross_entropy(
        Parameters.of(wavenet), wavenet.dilations, previous, condition, target, mask, bfloat16=bfloat16
    )


def fused_cross_entropy(
    parameters: Parameters,
    dilations: Sequence[int],
    previous: Tensor,
    condition: Tensor,
    target: Tensor,
    mask: Tensor,
    *,
    bfloat16: bool,
) -> Tensor:
    """Mean -log p(target), nats, over masked positions, with the gradients of all parameters.

    Parameters
    ----------
    parameters, dilations : of the WaveNet
    previous, target, mask : Tensor, shape (B, T)
    condition : Tensor, shape (B, N, L, 2R), what each layer adds before its gate
    bfloat16 : whether products round their inputs to bfloat16
    """
    share = mask / mask.sum().clamp(min=1)
    element = np.uint16 if bfloat16 else np.float32
    found = _Fused.apply(previous, target, share, condition, tuple(dilations), element, *parameters.flat())
    assert isinstance(found, Tensor)
    return found


class _Fused(torch.autograd.Function):
    """The gradients are computed along with the loss, while what they need is in the cache, and wait for `backward`."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, previous: Tensor, target: Tensor, share: Tensor, condition: Tensor, dilations: tuple[int, ...],
        element: type, *flat: Tensor,
    ) -> Tensor:  # fmt: skip
        num = len(dilations)
        layers = flat[7:]
        past, present, residual = layers[:num], layers[num : 2 * num], layers[2 * num :]
        parameters = Parameters(*flat[:7], past=past, present=present, residual=residual)  # type: ignore[misc, arg-type]
        weights, shape = pack_weights(parameters, dilations, element, previous.shape[1] // condition.shape[1])
        inputs = [x.contiguous().numpy() for x in (previous.long(), target.long(), share.float())]
        biases = condition.detach().float().contiguous().view(len(previous), -1).numpy()
        loss, gradients = _run([*inputs, biases], shape, weights, element)
        ctx.condition = gradients["condition"].view_as(condition).to(condition.dtype)
        ctx.parameters = unpack_gradients(gradients, parameters)
        return torch.tensor(loss, dtype=torch.float32)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        parameters = torch._foreach_mul(ctx.parameters, gradient)
        return None, None, None, ctx.condition * gradient, None, None, *parameters


def pack_weights(
    parameters: Parameters, dilations: Sequence[int], element: type, hop: int
) -> tuple[Weights, Shape]:  # fmt: skip
    """The weights as the loops read them; classes are filled up to whole vectors."""
    embedding, skip, skip_bias, hidden, hidden_bias, head, head_bias = (p.detach() for p in parameters[:7])  # type: ignore[union-attr]
    num, channels = len(dilations), embedding.shape[1]
    missing = -len(head) % LANES
    head, head_bias = F.pad(head, (0, 0, 0, missing)), F.pad(head_bias, (0, missing), value=LEAST_LIKELY)
    back = torch.stack([torch.stack(list(parameters.past)), torch.stack(list(parameters.present))], 1)
    back = back.detach().unflatten(2, (2, channels))  # (L, past or present, filter or gate, R outputs, R inputs)
    residual = torch.stack(list(parameters.residual)).detach()
    by_layer = skip.unflatten(1, (num, channels)).transpose(0, 1)  # (L, S, R)
    bias = np.float32
    return Weights(
        pack(embedding, bias), pack(back.mT, element), pack(back, element), pack(residual.mT, element),
        pack(residual, element), pack(by_layer.mT, element), pack(by_layer, element), pack(skip_bias, bias),
        pack(hidden.mT, element), pack(hidden, element), pack(hidden_bias, bias), pack(head.mT, element),
        pack(head, element), pack(head_bias, bias), np.array(dilations, np.int64),
    ), Shape(channels, len(skip), len(head), num, hop, min(TILE, hop))  # fmt: skip


def unpack_gradients(found: dict[str, Tensor], parameters: Parameters) -> list[Tensor]:
    """Gradients of all utterances (B, ...) as one for each parameter, in the order of `Parameters.flat`."""
    skip_channels, channels = parameters.skip.shape[0], parameters.embedding.shape[1]
    num, outputs = len(parameters.past), len(parameters.head)
    # Summed over utterances in their order: the threads change no bit.
    sums = {name: values.sum(0) for name, values in found.items() if name != "condition"}
    taps = sums["taps"].view(num, 2, 2, channels, channels).mT.flatten(2, 3)  # (L, past or present, 2R, R)
    return [
        sums["embedding"].view_as(parameters.embedding), sums["skip"].view(-1, skip_channels).t(), sums["skip_bias"],
        sums["hidden"].view(skip_channels, -1).t(), sums["hidden_bias"],
        sums["head"].view(skip_channels, -1).t()[:outputs], sums["head_bias"][:outputs],
        *taps[:, 0], *taps[:, 1], *sums["residual"].view(-1, channels, channels).mT,
    ]  # fmt: skip


class _Spaces:
    """Memory of utterances of one kind, kept from step to step: whoever takes one is alone with it."""

    def __init__(self) -> None:
        self._key: Any = None
        self._free: queue.SimpleQueue[tuple[Memory, Scratch]] = queue.SimpleQueue()

    def of(self, *key: Any) -> queue.SimpleQueue[tuple[Memory, Scratch]]:
        """Those that are free; those of another kind are given up."""
        if key != self._key:
            self._key, self._free = key, queue.SimpleQueue()
        return self._free


_SPACES = _Spaces()


def _run(
    inputs: Sequence[np.ndarray], shape: Shape, weights: Weights, element: type
) -> tuple[float, dict[str, Tensor]]:  # fmt: skip
    """The loss of a batch, and its gradients (B, ...) by name; an utterance is one thread's."""
    num, positions = inputs[0].shape
    like = Gradients(
        weights.embedding, inputs[-1][0], weights.taps, weights.residual, weights.skip, weights.skip_bias,
        weights.hidden, weights.hidden_bias, weights.head, weights.head_bias,
    )  # fmt: skip
    gradients = {name: np.zeros((num, one.size), np.float32) for name, one in like._asdict().items()}
    free = _SPACES.of(shape, positions, weights.dilations.tolist(), element)

    def run(number: int) -> float:
        try:
            memory, scratch = free.get_nowait()
        except queue.Empty:
            memory = make_memory(shape, weights.dilations, positions, element)
            scratch = make_scratch(shape, element)
        own = Gradients(**{name: values[number] for name, values in gradients.items()})
        loss = _RUN(element.__name__, *(x[number] for x in inputs), shape, weights, memory, scratch, own)
        free.put((memory, scratch))
        return float(loss)

    threads = min(torch.get_num_threads(), num)
    if threads == 1:
        losses = [run(number) for number in range(num)]
    else:
        with ThreadPoolExecutor(threads) as pool:
            losses = list(pool.map(run, range(num)))
    return sum(losses), {name: torch.from_numpy(values) for name, values in gradients.items()}
