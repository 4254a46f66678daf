"""A WaveNet's training step in one function: forward, loss and backward by compiled loops that stay in the cache.

By torch's operations a step is bound by memory: every layer's tensors of a whole batch travel there and back, and its
products are too small for what the libraries are tuned to. Here an utterance goes through all layers in tiles of 128
positions, first forward to the loss, then from the last tile to the first back to the gradients.

What stays in the cache
    A tile: (128, R) floats are 16 kB. Between forward and backward wait each layer's input, tanh and sigmoid, 3 R
    values a position; their product is computed again. The logits exist for one tile at a time. As the loss weighs
    positions by its mask alone, its gradient is known at once, so the head goes both ways while the tile is there.
What is in registers
    The sums of a product, see `block`. Nine tenths of the multiply-adds that the processor can do at best are done in
    it, and it takes four fifths of the time.
Why a tile's gradients are whole
    A layer's input is the present of its own position and the past of the one a dilation later. Tiles are taken from
    the last to the first, so gradients of later positions are there, and the sum over both is one product.
Why the bits do not depend on threads
    An utterance is one thread's. It adds up gradients of its own, which are summed in the order of utterances.
In bfloat16
    What products take is rounded as autocast does it; sums, gates, softmax and gradients of weights are float32.
    Pairs of inputs lie side by side. For gradients of weights, whose sums run over positions, tiles are turned so that
    pairs of positions do.

Where it cannot be used (a GPU, channels that fill no vector, float16), `WaveNet.mean_nats` takes torch's way. To change
it: `pytest tests/nn/test_fused.py` holds it against autograd in float64; then `python benchmarks/training.py` and
`benchmarks/fused.py`.
"""
