"""The second stage of training: batches of codes, figures beside n-grams, stages, and resuming."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from trainings import after_step, assert_same, stop
from vqspeech.cli.main import main
from vqspeech.data import code_store
from vqspeech.data.code_store import open_code_store
from vqspeech.errors import CheckpointError, RunError
from vqspeech.likelihood.bound import held_out_likelihood
from vqspeech.likelihood.nats import bits_per_code, surprisals
from vqspeech.likelihood.ngrams import tuned_models
from vqspeech.models.prior import Prior
from vqspeech.pretrained.checkpoint import read_model, read_prior, read_prior_card
from vqspeech.training.acceleration import Acceleration
from vqspeech.training.loop import fit
from vqspeech.training.prior import CodeBatches, PriorTask, assemble, prior_training
from vqspeech.training.start import train
from vqspeech.training.state import new_state

EAGER = Acceleration("cpu", bfloat16=False, compile=False, notices=())


@pytest.fixture
def codes(model, store, tmp_path):
    return open_code_store(tmp_path / "codes", model, store, 2)


@pytest.fixture
def prior(tiny_recipe, store) -> Prior:
    return Prior(tiny_recipe, 8, store.speakers)


@pytest.fixture
def trained(work, corpus, write_recipe) -> Path:
    """A run whose VQ-VAE is trained and whose prior is not; the recipe lies beside it."""
    train(write_recipe({"train.steps": 2}), data=corpus, out=Path("run"), stage="vqvae")
    return Path("run")


class Silent:
    """An observer who keeps the figures."""

    def __init__(self) -> None:
        self.bits: list[float] = []

    def started(self, state) -> None: ...

    def stepped(self, state, terms) -> None:
        self.bits.append(float(terms["bits"]))

    def validated(self, state, figures) -> None: ...

    def save(self, state) -> None: ...


def test_a_batch_is_start_codes_and_stop_shifted_by_one(codes):
    numbers = [0, 3]
    batch = assemble(codes, [(number, 0) for number in numbers])
    for row, number in enumerate(numbers):
        own, length = codes.read(number).tolist(), codes.length(number) + 1
        assert batch.previous[row, :length].tolist() == [8, *own]
        assert batch.target[row, :length].tolist() == [*own, 8]
        assert batch.mask[row].tolist() == [i < length for i in range(batch.mask.shape[1])]
        assert batch.speaker[row] == codes.speaker(number)


def test_crops_of_long_sequences_go_on_where_their_place_says(codes):
    own = codes.read(0).tolist()
    batch = assemble(codes, [(0, 5)], most=10)
    assert batch.previous[0].tolist() == own[4:14]  # code 4 precedes the prediction of code 5
    assert batch.target[0].tolist() == own[5:15]
    last = assemble(codes, [(0, len(own) - 3)], most=4)
    assert last.target[0].tolist() == [*own[-3:], 8]


def test_crops_cover_sequences_evenly_with_their_stops(codes):
    batches = CodeBatches(codes, crop_codes=30, batch_size=2000, seed=0)
    batch = batches.batch(0)
    assert batch.target.shape == (2000, 30)
    # Sequences are drawn by the number of crops that cover them.
    crops = {int(n): math.ceil((codes.length(int(n)) + 1) / 30) for n in batches.numbers}
    by_speaker = np.zeros(3)
    for number, count in crops.items():
        by_speaker[codes.speaker(number)] += count
    found = np.bincount(batch.speaker.numpy(), minlength=3) / 2000
    assert found == pytest.approx(by_speaker / by_speaker.sum(), abs=0.04)
    assert (batch.target == 8).any() and (batch.previous == 8).any()


def test_batches_depend_on_seed_and_step_alone_and_ranks_share_one(codes):
    def previous(seed, size, step, rank=0):
        return CodeBatches(codes, crop_codes=20, batch_size=size, seed=seed).batch(step, rank).previous

    assert torch.equal(previous(0, 4, 7), previous(0, 4, 7))
    assert not torch.equal(previous(0, 4, 7), previous(0, 4, 8))
    assert not torch.equal(previous(0, 4, 7), previous(1, 4, 7))
    assert torch.equal(torch.cat([previous(0, 2, 7), previous(0, 2, 7, rank=1)]), previous(0, 4, 7))


def test_disturbed_codes_are_others_of_the_batch_and_what_to_predict_stays(codes, prior):
    config = prior.recipe.prior.model_copy(update={"dropout": 0.5, "speaker_dropout": 0.5, "batch_size": 200})
    prior.recipe = prior.recipe.model_copy(update={"prior": config})
    task = PriorTask(prior, codes, 250.0, EAGER)
    plain = task.batches.batch(0)
    disturbed = task._disturb(plain, 0)
    assert torch.equal(disturbed.target, plain.target)
    starts = plain.previous == 8
    assert torch.equal(disturbed.previous[starts], plain.previous[starts])
    inside = plain.mask & ~starts
    frequency = torch.bincount(plain.previous[inside], minlength=8) / inside.sum()
    kept = 0.5 + 0.5 * float((frequency**2).sum())  # a code may be replaced by its like
    assert float((disturbed.previous == plain.previous)[inside].float().mean()) == pytest.approx(kept, abs=0.02)
    assert float((disturbed.speaker == prior.unconditional).float().mean()) == pytest.approx(0.5, abs=0.12)


def test_bits_per_code_equal_a_loop_over_single_utterances(codes, prior):
    numbers = codes.sequences("valid")
    prior.requires_grad_(False)
    bits, count = 0.0, 0
    for number in map(int, numbers):
        own = torch.from_numpy(codes.read(number))[None]
        p = torch.softmax(prior(own, torch.tensor([codes.speaker(number)]))[0].double(), -1)
        for n, symbol in enumerate([*own[0].tolist(), 8]):
            bits -= math.log2(float(p[n, symbol]))
        count += own.shape[1]
    assert bits_per_code(prior, codes, numbers) == pytest.approx(bits / count, rel=1e-5)
    pieces = list(surprisals(prior, codes, numbers, positions=1))  # one utterance at a time
    assert [len(piece) for piece in pieces] == [codes.length(int(number)) + 1 for number in numbers]
    assert sum(piece.sum() for piece in pieces) == pytest.approx(bits, rel=1e-5)


def test_training_finds_what_n_grams_cannot_see(model, prior, store, tmp_path, monkeypatch):
    def walk(model, store, index, shift) -> np.ndarray:  # the next code is the fourth last, seldom another
        random = np.random.default_rng([index, shift])
        codes = random.integers(0, 8, 4).tolist()
        while len(codes) < 40:
            codes.append(codes[-4] if random.random() < 0.95 else int(random.integers(0, 8)))
        return np.array(codes)

    monkeypatch.setattr(code_store, "encode_utterance", walk)
    codes = open_code_store(tmp_path / "codes", model, store, 8)
    config = prior.recipe.prior.model_copy(
        update={"steps": 300, "validate_every": 300, "learning_rate": 2e-2, "dropout": 0.0, "batch_size": 16}
    )
    recipe = prior.recipe.model_copy(update={"prior": config})
    prior = Prior(recipe, 8, prior.speakers)
    train_config = prior_training(recipe)
    task, state, observer = PriorTask(prior, codes, 250.0, EAGER), new_state(prior, train_config), Silent()
    assert fit(task, state, train_config, observer)
    figures = state.history[-1]
    assert observer.bits[0] == pytest.approx(math.log2(9) * 41 / 40, rel=0.2)  # as good as a guess
    assert figures["bits"] < 0.7 * min(figures[name] for name in ("uniform", "unigram", "bigram", "trigram"))
    assert figures["bit_rate"] == pytest.approx(250 * figures["bits"])
    valid = [codes.read(int(number)) for number in codes.sequences("valid")]
    models = tuned_models([codes.read(int(number)) for number in codes.sequences("train")], valid, 8)
    assert figures["trigram"] == pytest.approx(models["trigram"].bits(valid))


def test_the_priors_optimiser_is_adam_whatever_the_decoders_is(tiny_recipe):
    train_config = tiny_recipe.train.model_copy(update={"optimizer": "muon"})
    assert prior_training(tiny_recipe.model_copy(update={"train": train_config})).optimizer == "adam"


def test_a_prior_that_learns_nothing_is_told(codes, prior):
    task = PriorTask(prior, codes, 250.0, EAGER)
    useless = [{"step": step, "bits": 3.3, "unigram": 3.0} for step in range(5)]
    assert task.diagnose(useless[:3]) is None
    assert "the codes' frequencies alone 3.00. Lower prior.learning_rate" in str(task.diagnose(useless))
    assert task.diagnose([*useless, {"step": 6, "bits": 2.9, "unigram": 3.0}]) is None


def test_both_stages_leave_a_model_and_its_prior(work, corpus, write_recipe):
    result = train(write_recipe(), data=corpus, out=Path("run"))
    assert (result.step, result.finished) == (8, True)
    assert result.prior is not None and (result.prior.step, result.prior.finished) == (4, True)
    model = read_model("run")
    prior = read_prior("run", model)
    history = [json.loads(line) for line in Path("run/prior_metrics.jsonl").read_text().splitlines()]
    validations = [row for row in history if row["kind"] == "validation"]
    assert [row["step"] for row in validations] == [2, 4]
    assert prior.card.metrics["bits"] == min(row["bits"] for row in validations)
    assert prior.card.model == model.codes_id()
    assert {"uniform", "unigram", "bigram", "trigram"} <= prior.card.metrics.keys()


def test_the_end_of_the_stage_tells_how_likely_held_out_speech_is_with_the_weights_that_are_kept(
    trained, corpus, store
):
    said: list[str] = []
    train("recipe.toml", data=corpus, out=trained, stage="prior", notify=said.append)
    model = read_model(trained)
    expected = held_out_likelihood(model, read_prior(trained, model), store, "valid").as_metrics()
    assert read_prior_card(trained).metrics["likelihood"] == pytest.approx(expected)
    before = Path("run/prior_metrics.jsonl").read_text()
    (row,) = (row for row in map(json.loads, before.splitlines()) if row["kind"] == "likelihood")
    assert row == {"kind": "likelihood", "step": read_prior_card(trained).step} | expected
    assert any(line.startswith("held-out speech: ") for line in said)
    train("recipe.toml", data=corpus, out=trained, stage="prior", resume=True)  # nothing is left to do
    assert Path("run/prior_metrics.jsonl").read_text() == before


def test_the_prior_leaves_the_model_as_it_is(trained, corpus):
    before = (trained / "model.safetensors").read_bytes()
    result = train("recipe.toml", out=trained, stage="prior")  # finds the recordings by itself
    assert (result.step, result.prior.step) == (4, 4)
    assert (trained / "model.safetensors").read_bytes() == before


def test_a_resumed_prior_equals_an_uninterrupted_one(trained, corpus, monkeypatch):
    train("recipe.toml", data=corpus, out=trained, stage="prior")
    whole = [load_file(trained / "prior.safetensors"), torch.load(trained / "prior_state.pt", weights_only=True)]
    card = read_prior_card(trained)
    for name in ("prior.safetensors", "prior_state.pt", "prior_metrics.jsonl"):
        (trained / name).unlink()
    for number, step in enumerate((1, 3, 4)):
        after_step(monkeypatch, step, stop)
        result = train("recipe.toml", data=corpus, out=trained, stage="prior", resume=number > 0)
        assert (result.step, result.finished) == (step, step == 4)
    parts = [load_file(trained / "prior.safetensors"), torch.load(trained / "prior_state.pt", weights_only=True)]
    assert_same(whole, parts)
    assert read_prior_card(trained).metrics == card.metrics


@pytest.mark.parametrize("step", [3, 8])
def test_resuming_goes_on_with_the_stage_that_was_interrupted(step, work, corpus, write_recipe, monkeypatch):
    recipe = write_recipe()
    after_step(monkeypatch, step, stop)
    first = train(recipe, data=corpus, out=Path("run"))
    assert (first.finished, first.step, first.prior) == (step == 8 and first.finished, step, first.prior)
    second = train(recipe, out=Path("run"), resume=True)
    assert (second.finished, second.step, second.prior.step) == (True, 8, 4)
    assert train(recipe, out=Path("run"), resume=True).prior.step == 4  # nothing is left to do


def test_a_prior_stopped_in_both_stages_is_resumed(work, corpus, write_recipe, monkeypatch):
    recipe = write_recipe({"train.steps": 2})
    after_step(monkeypatch, 3, stop)  # the model has two steps, so this is the prior's third
    first = train(recipe, data=corpus, out=Path("run"))
    assert (first.finished, first.step, first.prior.step) == (False, 2, 3)
    second = train(recipe, out=Path("run"), resume=True)
    assert (second.finished, second.prior.step) == (True, 4)


def test_a_prior_without_a_model_says_how_to_train_one(work, corpus, write_recipe):
    with pytest.raises(CheckpointError, match="there is no model|holds no model.safetensors"):
        train(write_recipe(), data=corpus, out=Path("empty"), stage="prior")
    assert not Path("empty").exists()


def test_a_second_prior_is_refused_with_the_remedy(trained, corpus):
    train("recipe.toml", data=corpus, out=trained, stage="prior")
    with pytest.raises(RunError, match=r"already holds a prior.*--stage prior --resume.*Delete .*prior_state.pt"):
        train("recipe.toml", data=corpus, out=trained, stage="prior")


def test_a_prior_of_an_earlier_model_gives_way(trained, corpus):
    train("recipe.toml", data=corpus, out=trained, stage="prior")
    before = read_prior_card(trained).model
    train("recipe.toml", data=corpus, out=Path("other"), stage="vqvae", overrides=["train.seed=1"])
    (trained / "model.safetensors").write_bytes(Path("other/model.safetensors").read_bytes())
    said: list[str] = []
    train("recipe.toml", data=corpus, out=trained, stage="prior", notify=said.append)
    assert any("another model's" in line for line in said)
    assert read_prior_card(trained).model == read_model(trained).codes_id() != before


def test_settings_of_the_prior_alone_may_differ_from_those_of_the_model(trained, corpus, write_recipe):
    recipe = write_recipe({"train.steps": 2, "prior.conditional": False})
    train(recipe, data=corpus, out=trained, stage="prior", overrides=["prior.steps=2"])
    prior = read_prior(trained, read_model(trained))
    assert not prior.is_conditional and prior.card.step == 2
    with pytest.raises(RunError, match=r"the recipe changed.*prior.conditional"):
        other = write_recipe({"train.steps": 2}, name="other.toml")
        train(other, data=corpus, out=trained, stage="prior", resume=True)
    with pytest.raises(RunError, match=r"was started with --set prior.steps=2, .* another prior.steps would change it"):
        train(recipe, data=corpus, out=trained, stage="prior", resume=True, overrides=["prior.steps=3"])
    assert train(recipe, data=corpus, out=trained, stage="prior", resume=True).finished  # repeats what was set


def test_the_recipe_of_another_model_is_refused(trained, corpus, write_recipe):
    recipe = write_recipe({"bottleneck.num_codes": 16})
    with pytest.raises(RunError, match=r"trained with another recipe \(bottleneck.num_codes\)"):
        train(recipe, data=corpus, out=trained, stage="prior")


def test_the_command_line_trains_one_stage_and_info_tells_of_the_prior(trained, corpus):
    run = CliRunner().invoke
    told = run(main, ["info", str(trained)])
    assert "prior         none. Train one: vqspeech train recipes/tiny --stage prior --out run" in told.output
    done = run(main, ["train", "recipe.toml", "--data", str(corpus), "--out", str(trained), "--stage", "prior"])
    assert done.exit_code == 0, done.output
    assert "trained the prior 4 steps" in done.output and "vqspeech sample --model run" in done.output
    told = run(main, ["info", str(trained)])
    assert "sees 8 codes (0.03 s), step" in told.output and "bits/code" in told.output and "trigram" in told.output
    (line,) = (line for line in told.output.splitlines() if line.startswith("  likelihood  at most "))
    assert re.search(r"\d\.\d{3} bits/sample, 0\.\d{4} of them for the codes; \d+ bit/s, .* s of validation\)$", line)
