"""Two processes (gloo on the CPU) are one training: same codebook, same statistics, same weights."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from patience import HUNG_S
from vqspeech import distributed
from vqspeech.nn.bottleneck import make_bottleneck
from vqspeech.nn.norm import FrameNorm

PREAMBLE = """
import os
import sys
import torch
from vqspeech.distributed import rank, start_processes, stop_processes
from vqspeech.nn.bottleneck import make_bottleneck
from vqspeech.nn.norm import FrameNorm
torch.set_num_threads(1)
out = sys.argv[1]
def keep(value):
    torch.save(value, f"{out}/{rank()}.pt")
def leave():
    # Without the interpreter's own ending: gloo's threads now and then abort one that is shutting down.
    stop_processes()
    sys.stdout.flush()
    os._exit(0)
"""


def run_two(code: str, folder: Path, **environment: str) -> list:
    """What two processes, started as torchrun starts them, keep; `code` comes after the preamble."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = folder / "script.py"
    script.write_text(PREAMBLE + code)
    common = os.environ | environment | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
        )
        for rank in (0, 1)
    ]
    try:
        for process in processes:
            said, _ = process.communicate(timeout=HUNG_S)
            assert process.returncode == 0, said
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_alone_every_function_is_the_identity():
    x = torch.tensor([1.0, 2.0])
    assert distributed.rank() == 0
    assert distributed.world_size() == 1
    assert torch.equal(distributed.all_reduce_sum(x), x)
    assert torch.equal(distributed.all_reduce_mean(x), x)
    assert torch.equal(distributed.broadcast(x), x)
    assert distributed.share({"a": 1}) == {"a": 1}


BATCH = """
torch.manual_seed(0)
z_e = torch.randn(4, 30, 3)
mask = torch.arange(30) < torch.tensor([[30], [12], [21], [30]])
"""
BOTTLENECK = """
quantizer = make_bottleneck("vq-ema", 6, 3, "none", 0.9, 0.0).train()
start = torch.randn(6, 3)
quantizer.codebook.copy_(start)
quantizer.ema_sum.copy_(start)
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> list:
    """What two processes find, each with half of a batch."""
    code = (
        "start_processes()\n"
        + BATCH
        + BOTTLENECK
        + """
own = slice(0, 2) if rank() == 0 else slice(2, 4)
norm = FrameNorm(3).train()
x = z_e[own].clone().requires_grad_()
y = norm(x, mask[own])
loss = (y[mask[own]] ** 3).sum()
(gradient,) = torch.autograd.grad(loss, x)
for _ in range(3):
    quantizer(z_e[own], mask[own])
made = make_bottleneck("vq-ema", 4, 3, "none", 0.9, 0.0).train()
made.initialise(z_e[own][mask[own]], seed=0)
first = {name: value.clone() for name, value in made.state_dict().items()}
made(z_e[own], mask[own])
lively = make_bottleneck("vq-ema", 8, 3, "batch", 0.9, 2.0).train()
torch.manual_seed(1)
lively.codebook.copy_(torch.randn(8, 3))
lively.ema_sum.copy_(lively.codebook)
for _ in range(3):
    lively(z_e[own], mask[own])
keep({"quantizer": quantizer.state_dict(), "norm": norm.state_dict(), "y": y.detach(), "gradient": gradient,
      "made": first, "made_then": made.state_dict(), "lively": lively.state_dict()})
leave()
"""
    )
    return run_two(code, tmp_path_factory.mktemp("two"))


def alone() -> dict:
    """What one process finds with the whole batch."""
    names: dict = {"torch": torch, "make_bottleneck": make_bottleneck}
    exec(BATCH + BOTTLENECK, names)
    for _ in range(3):
        names["quantizer"](names["z_e"], names["mask"])
    return names


def test_two_processes_share_one_codebook(shared):
    expected = alone()["quantizer"].state_dict()
    for found in shared:
        for name, value in expected.items():
            torch.testing.assert_close(found["quantizer"][name], value, atol=1e-5, rtol=1e-5, msg=name)
    for name in expected:
        assert torch.equal(shared[0]["quantizer"][name], shared[1]["quantizer"][name])


def test_two_processes_share_the_statistics_of_the_normalisation(shared):
    names = alone()
    norm = FrameNorm(3).train()
    x = names["z_e"].clone().requires_grad_()
    y = norm(x, names["mask"])
    (gradient,) = torch.autograd.grad((y[names["mask"]] ** 3).sum(), x)
    torch.testing.assert_close(torch.cat([found["y"] for found in shared]), y.detach(), atol=1e-5, rtol=1e-5)
    for found in shared:
        torch.testing.assert_close(found["norm"]["mean"], norm.mean)
        torch.testing.assert_close(found["norm"]["variance"], norm.variance)
    both = torch.cat([found["gradient"] for found in shared])
    torch.testing.assert_close(both, gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("what", ["made", "made_then", "lively"])
def test_two_processes_start_and_restart_codes_alike(shared, what):
    for name in shared[0][what]:
        assert torch.equal(shared[0][what][name], shared[1][what][name]), name


TRAIN = """
import os
from pathlib import Path
from vqspeech.training import stage
from vqspeech.training.start import train

if __name__ == "__main__":  # preparation starts processes that import this again
    kept = {}
    made = stage.new_state
    def new_state(model, settings):
        kept["state"] = made(model, settings)
        return kept["state"]
    stage.new_state = new_state
    result = train(Path("recipe.toml"), data=Path(os.environ["CORPUS"]), out=Path("run"))
    keep({"model": kept["state"].model.state_dict(), "average": kept["state"].average.state_dict(),
          "step": result.step, "finished": result.finished, "figures": len(result.metrics)})
"""


@pytest.mark.slow
def test_training_in_two_processes_leaves_identical_weights(write_recipe, corpus, tmp_path):
    write_recipe(
        {"train.steps": 5, "train.validate_every": 2, "train.warm_start_steps": 1, "train.continuous_steps": 2,
         "encoder.norm": "batch", "train.optimizer": "muon"}
    )  # fmt: skip
    first, second = run_two(TRAIN, tmp_path, CORPUS=str(corpus))
    assert first["step"] == second["step"] == 5
    assert first["finished"]
    assert first["figures"] == second["figures"] > 0
    for part in ("model", "average"):
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), name
    assert (tmp_path / "run" / "model.safetensors").is_file()
