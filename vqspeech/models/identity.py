"""What distinguishes one set of weights from another: a hex digest of their names and values."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from torch import nn


def weights_digest(*modules: nn.Module, first: str = "", leave_out: Collection[str] = ()) -> str:
    """SHA-256 of a text and of the modules' tensors, module after module, each in the order of their names."""
    digest = hashlib.sha256(first.encode())
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            if name not in leave_out:
                digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
