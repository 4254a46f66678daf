"""Models of the Hub: fetched once and checked; safetensors alone; what cannot be had is one sentence with a way out."""

from __future__ import annotations

import builtins
from pathlib import Path

import pytest

from bundles import bundle
from commands import call, refuse
from hub_server import COMMITS, serve
from patience import HUNG_S
from priors import make_prior, write_run
from vqspeech.audio import load_audio
from vqspeech.pretrained.checkpoint import read_model
from vqspeech.pretrained.hub import is_hub_id
from vqspeech.pretrained.packing import pack
from vqspeech.pretrained.registry import resolve

constants = pytest.importorskip("huggingface_hub.constants", reason="pip install 'vqspeech[hub]'")


@pytest.fixture
def hub(place, tiny_model, other_run, tmp_path_factory, monkeypatch):
    """A Hub with anna/vowels: main (ann, bob, theo, with a prior) and v1 (eve, frank); gives its requests."""
    packed = tmp_path_factory.mktemp("packed")
    run = write_run(packed / "run", tiny_model, make_prior(tiny_model, stop_bias=1.0))
    for name, source in (("main", run), ("v1", other_run)):
        pack(source, packed / name, name="vowels", data="vowels", licence="CC0-1.0")
    files = {
        name: {path.name: path.read_bytes() for path in (packed / name).iterdir()} | {".gitattributes": b""}
        for name in ("main", "v1")
    }
    broken = files["main"] | {"model.safetensors": files["main"]["model.safetensors"][:-1] + b"\1"}
    bare = {"model.safetensors": files["main"]["model.safetensors"]}
    repositories = {
        "anna/vowels": files,
        "anna/damaged": {"main": broken},
        "anna/bare": {"main": bare},
        "anna/pickled": {"main": {"pytorch_model.bin": b"\x80", "config.json": b"{}", "optimizer.pt": b"\x80"}},
        "anna/other": {"main": {"README.md": b"nothing"}},
    }
    bundle(monkeypatch, packed / "bundled")
    cache = packed / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setattr(constants, name, HUNG_S)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serve(repositories) as (address, requests):
        use(monkeypatch, address)
        yield requests


def use(monkeypatch, address: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


def test_an_id_is_a_model(hub):
    call("convert", "--model", "anna/vowels", "--speaker", "theo", "in.wav")
    assert load_audio("in.theo.wav").shape == (2000,)
    assert read_model(resolve("anna/vowels")).speakers == ("ann", "bob", "theo")


def test_only_weights_and_their_card_are_fetched(hub):
    resolve("anna/vowels")
    fetched = {request.split("/")[-1] for request in hub if request.startswith("GET") and "/resolve/" in request}
    assert fetched == {"model.safetensors", "prior.safetensors", "card.json"}


def test_what_was_fetched_is_not_fetched_again(hub):
    resolve("anna/vowels")
    del hub[:]
    resolve("anna/vowels")
    assert not [request for request in hub if request.startswith("GET") and "/resolve/" in request]


def test_its_prior_comes_along(hub):
    call("sample", "--model", "anna/vowels", "--speaker", "ann", "--duration", 0.2)
    assert Path("samples/sample-ann-0-000.wav").is_file()


def test_a_revision_can_be_asked_for(hub):
    assert read_model(resolve("anna/vowels@v1")).speakers == ("eve", "frank")
    assert read_model(resolve(f"anna/vowels@{COMMITS['v1']}")).speakers == ("eve", "frank")
    assert read_model(resolve("anna/vowels")).speakers == ("ann", "bob", "theo")


def test_a_revision_that_is_not_there_is_named(hub):
    assert "no revision 'v9'" in refuse("info", "anna/vowels@v9")


def test_pickled_weights_are_refused_with_the_reason(hub):
    message = refuse("convert", "--model", "anna/pickled", "--speaker", "theo", "in.wav")
    for fact in ("pickled weights only", "optimizer.pt, pytorch_model.bin", "runs whatever code", "refused"):
        assert fact in message
    assert not [request for request in hub if "/resolve/" in request]


def test_a_repository_without_a_model_is_told_so(hub):
    assert "holds no model.safetensors" in refuse("info", "anna/other")


def test_a_repository_that_is_not_there_is_told_so(hub):
    message = refuse("info", "anna/nothing")
    assert "no such folder here, and no such repository" in message and "vqspeech models" in message


def test_weights_with_another_hash_than_their_card_states_are_not_used(hub):
    message = refuse("convert", "--model", "anna/damaged", "--speaker", "theo", "in.wav")
    assert "SHA-256" in message and "not used" in message and "anna/damaged" in message


def test_where_no_card_states_a_hash_the_model_is_used_as_it_is(hub):
    assert read_model(resolve("anna/bare")).speakers == ("ann", "bob", "theo")


def test_without_the_network_what_was_fetched_before_is_used(hub, monkeypatch, caplog):
    file = resolve("anna/vowels")
    use(monkeypatch, "http://127.0.0.1:9")  # the discard port: nobody listens
    caplog.set_level("INFO", "vqspeech")
    assert resolve("anna/vowels") == file
    assert "cannot be reached" in caplog.text


def test_without_the_network_and_the_model_the_error_says_so(hub, monkeypatch):
    use(monkeypatch, "http://127.0.0.1:9")
    message = refuse("convert", "--model", "anna/vowels", "--speaker", "theo", "in.wav")
    assert "cannot be reached" in message and "Check the path or the network" in message


def test_a_path_with_a_slip_is_not_asked_of_the_hub(hub):
    Path("models").mkdir()
    for slip in ("runs/fsddd", "models/fsdd", "./anna/vowels", "anna/vowels/deep"):
        assert "there is no model at" in refuse("info", slip)
    assert hub == []


def test_a_folder_here_goes_before_a_repository_of_the_same_name(hub, other_run):
    Path("anna").mkdir()
    Path("anna/vowels").symlink_to(other_run)
    assert read_model(resolve("anna/vowels")).speakers == ("eve", "frank")
    assert hub == []


def test_without_the_extra_the_way_to_it_is_told(place, monkeypatch):
    real = builtins.__import__

    def missing(name: str, *rest, **named):
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    message = refuse("info", "anna/vowels")
    assert "there is no model at anna/vowels" in message and "vqspeech[hub]" in message


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("a/b", True), ("a/b@main", True), ("a/b@refs/pr/1", True), ("a/b@", False), ("a", False), ("/a/b", False),
     ("../a", False), ("a/b/c", False), ("./a/b", False), ("a/b.safetensors", True)],
)  # fmt: skip
def test_what_looks_like_an_id(text, is_one):
    assert is_hub_id(text) is is_one
