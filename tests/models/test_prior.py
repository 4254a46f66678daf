"""The prior over codes: which symbols it knows, what it sees, and how it is kept beside its model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vqspeech.errors import CheckpointError
from vqspeech.models.prior import Prior
from vqspeech.pretrained.cards import PriorCard
from vqspeech.pretrained.checkpoint import MODEL_FILE, read_prior, read_prior_card, save_prior
from vqspeech.sampling.engines import get_engine


@pytest.fixture
def prior(tiny_recipe) -> Prior:
    """Eight codes, three speakers, dilations 1 2 4; weights that make a difference."""
    torch.manual_seed(0)
    prior = Prior(tiny_recipe, 8, ("ada", "ben", "cyd")).eval()
    with torch.no_grad():
        for parameter in prior.wavenet.parameters():
            parameter.mul_(2)
    return prior


def keep(prior, owner, folder, **changes):
    card = {"recipe": prior.recipe, "speakers": prior.speakers, "model": owner.codes_id(), "num_codes": 8}
    save_prior(folder / "prior.safetensors", prior.state_dict(), PriorCard(**card | changes))


def changed_positions(prior, codes, place) -> list[int]:
    other = codes.clone()
    other[0, place] = (other[0, place] + 1) % 8
    speaker = torch.tensor([0])
    difference = (prior(codes, speaker) - prior(other, speaker)).abs().amax(-1)[0]
    return difference.nonzero().flatten().tolist()


def test_an_utterance_of_n_codes_is_n_plus_one_predictions_among_codes_and_stop(prior):
    assert (prior.start, prior.stop) == (8, 8)
    assert prior(torch.zeros(2, 5, dtype=torch.long), torch.tensor([0, 1])).shape == (2, 6, 9)
    assert prior(torch.zeros(1, 0, dtype=torch.long), torch.tensor([0])).shape == (1, 1, 9)


def test_a_code_changes_only_what_comes_after_it_within_the_receptive_field(prior):
    codes = torch.randint(0, 8, (1, 20))
    # 1 + 1 + 2 + 4 = 8 codes are seen: code 4 is there for the predictions 5 to 12.
    assert prior.wavenet.receptive_field == prior.recipe.prior.receptive_field == 8
    assert changed_positions(prior, codes, 4) == list(range(5, 13))
    assert prior.receptive_field_s(code_rate=250.0) == 8 / 250


def test_a_crop_that_sees_all_of_its_receptive_field_equals_the_whole(prior):
    codes, speaker = torch.randint(0, 8, (1, 30)), torch.tensor([2])
    whole = prior(codes, speaker)
    crop = prior(codes[:, 9:], speaker, begins=False)  # its position 0 predicts code 10
    torch.testing.assert_close(crop[:, 7:], whole[:, 17:])


def test_every_speaker_and_none_is_heard_unless_the_recipe_says_otherwise(prior, tiny_recipe):
    codes = torch.randint(0, 8, (1, 6))
    voices = [prior(codes, torch.tensor([voice])) for voice in range(prior.unconditional + 1)]
    assert all(not torch.equal(voices[0], other) for other in voices[1:])
    assert not torch.equal(prior.condition(0), prior.condition(None))
    config = tiny_recipe.prior.model_copy(update={"conditional": False})
    deaf = Prior(tiny_recipe.model_copy(update={"prior": config}), 8, prior.speakers)
    assert torch.equal(deaf(codes, torch.tensor([0])), deaf(codes, torch.tensor([1])))
    assert torch.equal(deaf.condition(0), deaf.condition(None))


@pytest.mark.parametrize("engine", ["torch", "numba"])
def test_engines_give_the_logits_of_the_parallel_forward(prior, engine):
    codes = torch.randint(0, 8, (1, 12))
    with torch.no_grad():
        expected = prior(codes, torch.tensor([1]))[0].numpy()
        condition = np.repeat(prior.condition(1).numpy(), 13, 0)
    session = get_engine(engine, "float32").open(prior.wavenet, 1, seed=0, utterance=0, start=prior.start)
    given = np.append(codes[0].numpy(), prior.stop).astype(np.int32)
    np.testing.assert_allclose(session.force(given, condition), expected, atol=1e-4)


def test_a_prior_comes_back_from_its_file_as_it_was(prior, model, tmp_path):
    keep(prior, model, tmp_path, step=7, metrics={"bits": 2.5})
    for place in (tmp_path, tmp_path / MODEL_FILE, tmp_path / "prior.safetensors"):  # however it is named
        loaded = read_prior(place, model)
        codes, speaker = torch.randint(0, 8, (2, 9)), torch.tensor([0, 2])
        assert torch.equal(loaded(codes, speaker), prior(codes, speaker))
        assert (loaded.card.step, loaded.card.metrics) == (7, {"bits": 2.5})
        assert loaded.weights_id() == prior.weights_id()
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_fingerprint_is_of_all_weights(prior):
    before = prior.weights_id()
    with torch.no_grad():
        prior.wavenet.head.bias[-1] += 1e-6
    assert prior.weights_id() != before


def test_a_card_tells_receptive_field_and_bits_beside_n_grams(prior, model, tmp_path):
    metrics = {"bits": 2.5, "bit_rate": 625.0, "uniform": 3.2, "unigram": 3.1, "bigram": 2.9, "trigram": 2.8}
    keep(prior, model, tmp_path, metrics=metrics)
    said = read_prior_card(tmp_path).describe()
    assert "sees 8 codes (0.03 s)" in said  # 4000 Hz / 16 = 250 codes per second
    assert "2.500 bits/code, 625 bit/s" in said and "trigram 2.800" in said


def test_a_missing_prior_says_how_to_train_one(model, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no prior.*vqspeech train RECIPE --stage prior"):
        read_prior(tmp_path, model)


def test_a_prior_of_another_model_is_refused(prior, model, tmp_path):
    keep(prior, model, tmp_path, model="0" * 64)
    with pytest.raises(CheckpointError, match=r"codes of another model \(0{12}, this one is .*--stage prior"):
        read_prior(tmp_path, model)


def test_a_damaged_prior_and_a_model_in_its_place_are_refused(prior, model, tiny_run, tmp_path):
    keep(prior, model, tmp_path)
    file = tmp_path / "prior.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    with pytest.raises(CheckpointError, match="truncated"):
        read_prior(tmp_path, model)
    file.write_bytes((tiny_run / MODEL_FILE).read_bytes())
    with pytest.raises(CheckpointError, match="not a vqspeech prior"):
        read_prior(tmp_path, model)
