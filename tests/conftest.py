"""Shared by all tests: fixed seeds, hypothesis profiles, and where the real recordings are."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from vqspeech.numba_cache import guard

guard()  # test modules import librosa, in several processes at once

REPOSITORY = Path(__file__).resolve().parent.parent

# One thread a process, as in `make test`: those of torch spin while they wait for each other, which on a loaded machine
# makes a second of work ten minutes long.
for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Numba compiles on first use and machines are shared: a deadline would measure those.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default"))


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Every test starts from the same random state, whichever ran before."""
    random.seed(0)
    np.random.seed(0)
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def compiled_sampling(tmp_path_factory) -> None:
    """The sampling loop is compiled before the first test, so that no test hears that it is being compiled.

    One of the processes that test side by side does it, the others find it on disk, as do later runs.
    """
    from vqspeech.nn.wavenet import WaveNet
    from vqspeech.sampling.engines import get_engine

    with FileLock(tmp_path_factory.getbasetemp().parent / "sampling.lock"):
        for precision in ("float32", "auto"):
            get_engine("numba", precision).load(WaveNet(256, 256, 4, 4, 1, 1, 2), 2)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real recordings (fsdd/, librispeech/, vctk/): VQSPEECH_TEST_DATA, else ../shared/data."""
    folder = Path(os.environ.get("VQSPEECH_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}; name their folder in VQSPEECH_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def fsdd(real_data: Path) -> Path:
    """Folder of the Free Spoken Digit Dataset."""
    folder = real_data / "fsdd"
    if not (folder / "recordings").is_dir():
        pytest.skip(f"no FSDD at {folder}; name the folder above it in VQSPEECH_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny_model():
    """An untrained VQ-VAE small enough to sample in no time: 8 kHz, hop 16, 8 codes, speakers ann, bob and theo."""
    return _make_tiny_model(seed=0)


@pytest.fixture(scope="session")
def lively_model():
    """The tiny model with larger weights: what it draws depends on its own past, as in a trained one."""
    return _enliven(_make_tiny_model(seed=0))


@pytest.fixture(scope="session", params=[1, 4], ids=["a sample a pass", "four samples a pass"])
def predicting_model(request):
    """A lively model of the excitation that linear prediction leaves, with filters that differ from code to code."""
    import torch

    decoder = {"prediction_order": 6, "condition_blocks": 2, "samples_per_step": request.param}
    model = _enliven(_make_tiny_model(seed=0, **decoder))
    with torch.no_grad():
        model.spectral_head.layers[2].weight.mul_(10)
        model.spectral_head.layers[2].bias.sub_(1)  # soft speech: nothing is clipped
    return model


@pytest.fixture(scope="session")
def pitched_model():
    """A lively model that predicts from the last samples and from one pitch period ago, four samples a pass."""
    import torch

    model = _enliven(_make_tiny_model(seed=0, prediction_order=6, condition_blocks=2, samples_per_step=4, pitch_taps=8))
    with torch.no_grad():
        model.spectral_head.layers[2].weight.mul_(8)
        model.spectral_head.layers[2].bias.sub_(1)  # soft speech: nothing is clipped
        model.pitch_head.layers[2].weight.mul_(20)  # some codes have a pitch, of several periods
        told = model.pitch_head(model.condition([code for code in range(8) for _ in range(9)], 1)[:, :-1])
        model.pitch_head.layers[2].bias.sub_(told.median(0).values)
    return model


@pytest.fixture(scope="session")
def bunched_model():
    """A lively model whose layers serve four samples a pass."""
    return _enliven(_make_tiny_model(seed=0, samples_per_step=4))


def _enliven(model):
    import torch

    with torch.no_grad():
        for parameter in model.wavenet.parameters():
            parameter.mul_(2)
        model.wavenet.head.weight.mul_(4)
    return model


@pytest.fixture(scope="session")
def tiny_run(tiny_model, tmp_path_factory) -> Path:
    """Run folder with the tiny model's file; tests only read it."""
    from vqspeech.pretrained.cards import ModelCard
    from vqspeech.pretrained.checkpoint import MODEL_FILE, save_model

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    card = ModelCard(tiny_model.recipe, tiny_model.speakers, step=100, version="0.1.0")
    save_model(folder / MODEL_FILE, tiny_model.state_dict(), card)
    return folder


@pytest.fixture(scope="session")
def other_run(tmp_path_factory) -> Path:
    """Run folder of a model of the same recipe, other weights and other speakers (eve, frank)."""
    from vqspeech.pretrained.cards import ModelCard
    from vqspeech.pretrained.checkpoint import MODEL_FILE, save_model

    model = _make_tiny_model(seed=1, speakers=("eve", "frank"))
    folder = tmp_path_factory.mktemp("runs") / "other"
    save_model(folder / MODEL_FILE, model.state_dict(), ModelCard(model.recipe, model.speakers, version="0.1.0"))
    return folder


@pytest.fixture(scope="session")
def chirp() -> np.ndarray:
    """One second at 8 kHz that moves through the tiny model's codes."""
    t = np.arange(8000) / 8000
    return (0.5 * np.sin(2 * np.pi * (200 * t + 300 * t * t)) * (0.2 + t)).astype(np.float32)


@pytest.fixture()
def place(tmp_path, chirp, monkeypatch) -> Path:
    """A folder to work in, with one recording, in.wav, no bundled models, and nothing chosen by the environment."""
    from vqspeech.audio import save_audio

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VQSPEECH_MODEL", raising=False)
    monkeypatch.delenv("VQSPEECH_DATA", raising=False)
    monkeypatch.setattr("vqspeech.pretrained.bundled.FOLDER", tmp_path / "nothing bundled")
    save_audio(tmp_path / "in.wav", chirp[:2000], 8000)
    return tmp_path


def _make_tiny_model(seed: int, speakers: tuple[str, ...] = ("ann", "bob", "theo"), **decoder: int):
    import torch

    from vqspeech.config import parse_recipe
    from vqspeech.models.vqvae import VQVAE

    recipe = parse_recipe(
        {
            "name": "tiny",
            "data": {"corpus": "folder", "sample_rate": 8000},
            "encoder": {"strides": [4, 4], "channels": 8, "residual_blocks": 1},
            "bottleneck": {"num_codes": 8, "code_dim": 4},
            "decoder": {
                "residual_channels": 8, "skip_channels": 8, "cycles": 2, "layers_per_cycle": 3,
                "condition_channels": 8, "context_frames": 1, "speaker_dim": 4, **decoder,
            },
            "loss": {"spectral": float("prediction_order" in decoder), "spectral_bands": 20},
            "train": {"crop_samples": 512},
        },
        "the tests' tiny recipe",
    )  # fmt: skip
    torch.manual_seed(seed)
    model = VQVAE(recipe, speakers).eval()
    with torch.no_grad():
        # A codebook of encoder outputs: the codes vary with the sound, as a trained model's do.
        z_e = model.bottleneck.prepare(model.encoder(torch.randn(1, 4096) * torch.linspace(0, 0.5, 4096)))
        model.bottleneck.codebook.copy_(z_e[0, :: z_e.shape[1] // 8][:8])
    return model


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Folder of three speakers (ada, ben, cyd), eight short recordings each: vowels of changing pitch at 4 kHz."""
    from vqspeech.audio import save_audio

    folder = tmp_path_factory.mktemp("corpus")
    for number, speaker in enumerate(("ada", "ben", "cyd")):
        for take in range(8):
            save_audio(folder / speaker / f"{speaker}-{take}.wav", _vowel(100 * 1.5**number, take), 4000)
    return folder


def _vowel(pitch: float, take: int) -> np.ndarray:
    random = np.random.default_rng([round(pitch), take])
    t = np.arange(random.integers(1200, 3200)) / 4000  # 0.3 to 0.8 s
    phase = 2 * np.pi * pitch * (t + 0.2 * t * t * random.uniform(-1, 1))
    harmonics = random.uniform(0, 0.3, 6)
    wav = sum(level * np.sin(k * phase) for k, level in enumerate(harmonics, start=1))
    return (0.5 * wav + random.normal(0, 0.002, len(t))).astype(np.float32)


@pytest.fixture(scope="session")
def tiny_values() -> dict:
    """What the tests' recipe says: a network small enough to train within seconds, all losses on."""
    return {
        "name": "tiny",
        "data": {"corpus": "folder", "sample_rate": 4000, "valid_share": 0.3, "test_share": 0.1},
        "encoder": {"strides": [4, 4], "channels": 8, "residual_blocks": 1},
        "bottleneck": {"num_codes": 8, "code_dim": 4},
        "decoder": {
            "residual_channels": 8, "skip_channels": 8, "cycles": 2, "layers_per_cycle": 3,
            "condition_channels": 8, "context_frames": 1, "speaker_dim": 4,
        },
        "loss": {"spectral": 1.0, "adversary": 0.1},
        "train": {
            "steps": 8, "batch_size": 2, "crop_samples": 1024, "learning_rate": 1e-3, "warmup_steps": 2,
            "validate_every": 4, "checkpoint_every": 4, "validation_utterances": 2, "probe_utterances": 0,
            "precision": "float32", "compile": "off",
        },
        "prior": {
            "residual_channels": 8, "skip_channels": 8, "cycles": 1, "layers_per_cycle": 3, "speaker_dim": 4,
            "steps": 4, "batch_size": 4, "shifts": 2, "warmup_steps": 2, "validate_every": 2,
        },
    }  # fmt: skip


@pytest.fixture
def tiny_recipe(tiny_values):
    """The tests' recipe, parsed."""
    from vqspeech.config import parse_recipe

    return parse_recipe(tiny_values, "the tests' recipe")


@pytest.fixture(scope="session")
def store(corpus, tiny_values, tmp_path_factory):
    """The corpus, prepared by the tests' recipe; lies in prepared/tiny of some folder."""
    from vqspeech.config import parse_recipe
    from vqspeech.data.preparation import prepare_store
    from vqspeech.data.store import Store

    folder = tmp_path_factory.mktemp("work") / "prepared" / "tiny"
    prepare_store(parse_recipe(tiny_values, "the tests' recipe").data, corpus, folder, num_workers=1)
    return Store.open(folder)


@pytest.fixture
def model(tiny_recipe, store):
    """An untrained model of the tests' recipe, hop 16, with the corpus's three speakers."""
    from vqspeech.models.vqvae import VQVAE

    return VQVAE(tiny_recipe, store.speakers)


@pytest.fixture
def write_recipe(tiny_values, tmp_path):
    """A function that writes the tests' recipe with some values changed ("train.steps": 3) and gives its path."""

    def write(changes: dict | None = None, name: str = "recipe.toml") -> Path:
        values = {key: dict(value) if isinstance(value, dict) else value for key, value in tiny_values.items()}
        for key, value in (changes or {}).items():
            section, key = key.split(".")
            values.setdefault(section, {})[key] = value
        lines = [f"name = {json.dumps(values.pop('name'))}"]
        for section, entries in values.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in entries.items())]
        (tmp_path / name).write_text("\n".join(lines))  # JSON's numbers, strings, booleans and lists are TOML's
        return tmp_path / name

    return write


@pytest.fixture
def work(tmp_path, store, monkeypatch) -> Path:
    """An empty working folder with the prepared corpus in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prepared").symlink_to(store.folder.parent)
    return tmp_path
