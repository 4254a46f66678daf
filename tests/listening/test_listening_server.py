"""The server of listening tests: places in turn, every answer safe before it is acknowledged, nothing else served."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn
from click.testing import CliRunner

from commands import call, refuse
from listeners import a_test, answer_to
from patience import HUNG_S, wait_until
from vqspeech.cli.main import main
from vqspeech.errors import ListeningTestError
from vqspeech.listening.answers import Answer, Results
from vqspeech.listening.design.folder import answers_path, key_path, read_test
from vqspeech.listening.key import Key, write_key
from vqspeech.listening.serving.answer_store import (
    PATIENCE_S,
    AnswerStore,
    UnknownListenerError,
    check_answer,
    write_results,
)
from vqspeech.listening.serving.guards import MOST_BODY_BYTES, Bucket
from vqspeech.listening.serving.server import ServingOptions, make_app, serving_options


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return a_test(tmp_path_factory.mktemp("mos"), "mos")


@pytest.fixture
def store(exported, tmp_path):
    store = AnswerStore(tmp_path / "answers.sqlite", exported.key)
    yield store
    store.close()


@contextmanager
def running(exported, store, **options):
    """A server of the test in a thread; gives a function that asks it."""
    app = make_app(exported.folder, store, ServingOptions(**options))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    place = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([place],))
    thread.start()
    wait_until(lambda: server.started, thread.is_alive)
    port = place.getsockname()[1]

    def ask(method: str, path: str, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HUNG_S)
        if isinstance(body, dict | list):
            body = json.dumps(body)
        connection.request(method, path, body, {"Content-Type": "application/json"} | (headers or {}))
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, data

    ask.port = port
    try:
        yield ask
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def ask(exported, store):
    with running(exported, store) as ask:
        yield ask


def joined(ask) -> tuple[str, int]:
    status, _, data = ask("POST", "/api/join", {"consented": True})
    assert status == 200
    given = json.loads(data)
    return given["listener"], given["place"]


# Places and answers


def test_listeners_get_one_place_after_the_other_and_then_the_first_again(ask, exported):
    num = len(exported.key.orders)
    given = [joined(ask) for _ in range(num + 2)]
    assert [place for _, place in given] == [*range(num), 0, 1]
    assert len({name for name, _ in given}) == num + 2


def test_the_place_of_a_listener_who_never_answered_goes_to_another(store, exported):
    name, place = store.join(now=0.0)
    assert store.join(now=1.0)[1] == 1
    store.add(name, answer_to(exported.key, exported.key.orders[place][0]))
    later = PATIENCE_S + 10
    assert store.join(now=later)[1] == 1  # of the second, who only joined; the first answered and keeps theirs
    assert store.join(now=later)[1] == 2


def test_an_answer_is_on_disk_when_it_is_acknowledged(ask, exported, store):
    name, place = joined(ask)
    answer = answer_to(exported.key, exported.key.orders[place][0], comment="<script>alert(1)</script>")
    status, _, data = ask("POST", "/api/answers", {"listener": name, "answer": answer.model_dump()})
    assert (status, json.loads(data)) == (200, {"kept": answer.trial})
    with sqlite3.connect(store.path) as other:  # another process's view
        rows = other.execute("SELECT listener, answer FROM answers").fetchall()
    assert [(who, Answer.model_validate_json(text)) for who, text in rows] == [(name, answer)]


def test_the_file_is_written_through_in_wal_mode(store):
    assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_an_answer_that_comes_again_is_acknowledged_and_the_first_is_kept(ask, exported, store):
    name, place = joined(ask)
    trial = exported.key.orders[place][0]
    for rating in (2, 5):
        answer = Answer(trial=trial, ratings={exported.key.trials[trial].rated[0]: rating})
        assert ask("POST", "/api/answers", {"listener": name, "answer": answer.model_dump()})[0] == 200
    (results,) = store.results()
    assert [list(answer.ratings.values()) for answer in results.answers] == [[2]]


def test_results_are_finished_when_every_page_was_answered(store, exported):
    name, place = store.join()
    for trial in exported.key.orders[place]:
        assert not any(results.finished for results in store.results())
        store.add(name, answer_to(exported.key, trial))
    (results,) = store.results()
    assert results.finished and results.consented
    assert [answer.trial for answer in results.answers] == list(exported.key.orders[place])


def test_results_are_written_one_file_a_listener(exported, place):
    folder = exported.folder
    store = AnswerStore(answers_path(folder), exported.key)
    names = [store.join()[0] for _ in range(2)]
    for number, name in enumerate(names):
        store.add(name, answer_to(exported.key, exported.key.orders[number][0]))
    store.close()
    try:
        said = call("listening-test", "results", folder, "--out", "out")
        assert "2 listeners" in said
        read = [Results.model_validate_json(path.read_text()) for path in Path("out").glob("*.json")]
        assert {results.listener for results in read} == set(names)
        assert all(results.test == exported.key.test and not results.finished for results in read)
    finally:
        for path in folder.parent.glob("*.sqlite*"):
            path.unlink()


def test_without_consent_nobody_joins(ask):
    for body in ({}, {"consented": "yes"}, [], {"consented": False}):
        assert ask("POST", "/api/join", body)[0] == 400


# Bad answers


def bad_answers(key, place):
    trial = key.orders[place][0]
    (rated,) = key.trials[trial].rated
    other = next(name for name in key.stimuli if name != rated)
    good = {"trial": trial, "ratings": {rated: 3}}
    yield "above the scale", good | {"ratings": {rated: 6}}
    yield "below the scale", good | {"ratings": {rated: 0}}
    yield "not whole", good | {"ratings": {rated: 2.5}}
    yield "not a number", good | {"ratings": {rated: float("nan")}}
    yield "of another sound", good | {"ratings": {other: 3}}
    yield "without rating", good | {"ratings": {}}
    yield "with a choice", good | {"choice": rated}
    yield "of no trial", good | {"trial": "t000"}
    yield "with more", good | {"name": "John"}
    yield "with a long comment", good | {"comment": "x" * 1001}
    yield "with a negative time", good | {"milliseconds": -1}
    yield "of no form", "hello"


def test_answers_out_of_range_or_of_another_form_are_refused_and_not_kept(ask, exported, store):
    name, place = joined(ask)
    for what, answer in bad_answers(exported.key, place):
        status, _, data = ask("POST", "/api/answers", {"listener": name, "answer": answer})
        assert status == 422 and json.loads(data)["error"], what
    assert store.results() == []


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "[" * 5000, '{"listener": 3}', "\xff"])
def test_half_written_json_is_refused(ask, body):
    assert ask("POST", "/api/answers", body.encode("latin-1"))[0] == 422
    assert ask("POST", "/api/join", body.encode("latin-1"))[0] == 400


def test_answers_of_nobody_are_refused(ask, exported):
    answer = answer_to(exported.key, exported.key.orders[0][0])
    assert ask("POST", "/api/answers", {"listener": "nobody", "answer": answer.model_dump()})[0] == 404


def test_a_form_of_another_site_cannot_answer(ask):
    status, *_ = ask("POST", "/api/join", '{"consented": true}', {"Content-Type": "text/plain"})
    assert status == 415


@pytest.mark.parametrize("kind", ["abx", "preference", "mushra", "similarity"])
def test_every_kind_takes_its_own_answers_and_no_others(tmp_path, kind):
    key = a_test(tmp_path, kind).key
    trial = key.orders[0][0]
    check_answer(key, 0, answer_to(key, trial))
    rated = key.trials[trial].rated
    wrong = [Answer(trial=trial, choice="s0")]
    if kind == "mushra":
        wrong.append(Answer(trial=trial, ratings=dict.fromkeys(rated[1:], 50)))
    elif kind == "similarity":
        wrong.append(Answer(trial=trial, ratings={rated[0]: 5}))
    else:
        wrong.append(Answer(trial=trial, ratings={rated[0]: 1}))
    if kind == "preference":
        check_answer(key, 0, Answer(trial=trial, choice=None))
    else:
        wrong.append(Answer(trial=trial))
    for answer in wrong:
        with pytest.raises(ListeningTestError):
            check_answer(key, 0, answer)


# What is served


def test_the_page_its_scripts_and_its_sounds_are_served_and_played_in_parts(ask, exported):
    assert b"<main" in ask("GET", "/")[2]
    for name in ("test.js", "page.js", "page.css", "state.js", "player.js", "scales.js"):
        assert ask("GET", f"/{name}")[2] == (exported.folder / name).read_bytes()
    assert b'"api/"' in ask("GET", "/served.js")[2]
    sound = next((exported.folder / "sounds").iterdir())
    assert ask("GET", f"/sounds/{sound.name}")[2] == sound.read_bytes()
    status, _, data = ask("GET", f"/sounds/{sound.name}", headers={"Range": "bytes=4-11"})
    assert (status, data) == (206, sound.read_bytes()[4:12])


@pytest.mark.parametrize(
    "path",
    [
        "/../mos.key.json", "/..%2fmos.key.json", "/sounds/../../mos.key.json", "/sounds/..%2f..%2fmos.key.json",
        "/sounds/%2e%2e/%2e%2e/mos.key.json", "/sounds//etc/passwd", "/sounds/..\\..\\mos.key.json", "//etc/passwd",
        "/mos.key.json", "/trials.csv", "/sounds/", "/sounds", "/index.html/..", "/sounds/\x00", "/api/answers",
        "/link.wav", "/sounds/link.wav",
    ],
)  # fmt: skip
def test_nothing_but_the_page_is_served(ask, exported, path):
    link = exported.folder / "sounds" / "link.wav"
    if not link.is_symlink():
        link.symlink_to(key_path(exported.folder))
    (exported.folder / "trials.csv").write_text("secret,stimuli")
    raw = socket.create_connection(("127.0.0.1", ask.port), timeout=HUNG_S)  # as it stands: clients tidy `..` away
    raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1"))
    data = b"".join(iter(lambda: raw.recv(65536), b""))
    raw.close()
    link.unlink()
    assert b"stimuli" not in data and b"root:" not in data
    assert int(data.split(b" ", 2)[1]) in (400, 404, 405, 307)


def test_every_reply_says_what_a_page_may_do(ask):
    for path in ("/", "/sounds/none.wav", "/api/join"):
        _, headers, _ = ask("GET", path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


def test_a_page_of_elsewhere_cannot_call_this_machine_by_another_name(ask):
    assert ask("GET", "/", headers={"Host": "evil.example"})[0] == 400


# Limits


def test_an_oversized_request_is_refused_whether_announced_or_not(ask, exported):
    body = b'{"listener": "' + b"x" * MOST_BODY_BYTES + b'"}'
    assert ask("POST", "/api/answers", body)[0] == 413
    # Nothing follows the header: what the server leaves unread would make the system reset the connection.
    assert ask("POST", "/api/answers", b"", {"Content-Length": "-5"})[0] in (400, 413)
    raw = socket.create_connection(("127.0.0.1", ask.port), timeout=HUNG_S)
    raw.sendall(b"POST /api/answers HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                b"Content-Type: application/json\r\n\r\n")  # fmt: skip
    for _ in range(9):
        raw.sendall(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
    assert b" 413 " in raw.recv(65536)
    raw.close()


def test_too_many_requests_are_told_to_wait(exported, store, monkeypatch):
    monkeypatch.setattr(
        "vqspeech.listening.serving.guards.time", SimpleNamespace(monotonic=lambda: 7.0)
    )  # no time passes
    with running(exported, store, per_s=2.0, burst=5) as ask:
        replies = [ask("GET", "/page.css") for _ in range(8)]
    assert [status for status, *_ in replies] == [200] * 5 + [429] * 3
    assert [headers["retry-after"] for _, headers, _ in replies[5:]] == ["0.5"] * 3


def test_a_bucket_fills_again_and_forgets_the_oldest_clients(monkeypatch):
    bucket = Bucket(per_s=2.0, burst=3)
    assert [bucket.take("a", 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take("b", 0.0) == 0
    assert bucket.take("a", 0.5) == 0 and bucket.take("a", 0.5) == 0.5
    monkeypatch.setattr("vqspeech.listening.serving.guards.MOST_CLIENTS", 2)
    bucket.take("c", 0.5)
    assert list(bucket._clients) == ["a", "c"]


# The token


def test_with_a_token_nobody_comes_in_without_it(exported, store):
    with running(exported, store, token="right-token") as ask:
        for path in ("/", "/test.js", "/api/join", "/?token=", "/?token=wrong-token", "/?token=right-token%00"):
            status, headers, data = ask("GET", path)
            assert status == 403 and b"main" not in data and "set-cookie" not in headers
        assert ask("GET", "/", headers={"Cookie": "vqspeech_listening_token=wrong"})[0] == 403
        status, headers, _ = ask("GET", "/?token=right-token")
        assert status == 200
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert ask("GET", "/test.js", headers={"Cookie": cookie.partition(";")[0]})[0] == 200


def test_another_host_than_loopback_always_has_a_token():
    assert (
        serving_options("127.0.0.1", 8000, None).token is None
        and serving_options("localhost", 8000, None).token is None
    )
    assert serving_options("::1", 8000, None).token is None
    drawn = [serving_options(host, 8000, None).token for host in ("0.0.0.0", "192.168.1.5", "example.org")]
    assert all(token and len(token) >= 16 for token in drawn) and len(set(drawn)) == 3
    assert serving_options("0.0.0.0", 8000, "long-enough").token == "long-enough"
    assert serving_options("::1", 8000, None).shown_host == "[::1]"
    assert serving_options("0.0.0.0", 8000, None).shown_host == socket.gethostname()
    with pytest.raises(ListeningTestError, match="8 letters"):
        serving_options("0.0.0.0", 8000, "short")


# What is refused before serving


def test_a_test_with_a_missing_sound_is_not_served(tmp_path, place):
    exported = a_test(tmp_path / "t", "mos")
    next((exported.folder / "sounds").iterdir()).unlink()
    assert "lacks 1 of its" in refuse("listening-test", "serve", exported.folder)


def test_a_folder_without_a_test_or_with_anothers_key_is_not_served(tmp_path, place):
    assert "holds no listening test" in refuse("listening-test", "serve", tmp_path)
    exported = a_test(tmp_path / "t", "mos")
    write_key(key_path(exported.folder), exported.key.model_copy(update={"test": "another"}))
    with pytest.raises(ListeningTestError, match="key of another test"):
        read_test(exported.folder)


def test_answers_of_another_test_or_a_damaged_file_are_not_mixed_in(exported, tmp_path):
    AnswerStore(tmp_path / "a.sqlite", exported.key).close()
    other: Key = exported.key.model_copy(update={"test": "another"})
    with pytest.raises(ListeningTestError, match="another test"):
        AnswerStore(tmp_path / "a.sqlite", other)
    (tmp_path / "b.sqlite").write_bytes(b"not a database " * 100)
    with pytest.raises(ListeningTestError, match="damaged"):
        AnswerStore(tmp_path / "b.sqlite", exported.key)


def test_results_of_a_test_that_was_never_served_are_told(exported, tmp_path):
    with pytest.raises(ListeningTestError, match="nobody has joined"):
        write_results(tmp_path / "none.sqlite", exported.key, tmp_path / "out")


def test_a_taken_port_is_told(exported, place):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["listening-test", "serve", str(exported.folder), "--port", str(port)])
    sentence = result.stderr.splitlines()[-1]
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert f"127.0.0.1:{port}" in sentence and "--port" in sentence


def test_an_unknown_listener_is_told_apart_from_a_wrong_answer(store, exported):
    with pytest.raises(UnknownListenerError):
        store.add("nobody", answer_to(exported.key, exported.key.orders[0][0]))


def test_answers_that_come_at_once_are_all_kept_and_a_wrong_one_among_them_stops_no_other(store, exported):
    listeners = [store.join() for _ in range(12)]
    failed = []

    def answer_all(name, place):
        for trial in exported.key.orders[place]:
            store.add(name, answer_to(exported.key, trial))
            try:
                store.add(name, Answer(trial="t0", ratings={}))
            except ListeningTestError:
                failed.append(name)

    threads = [threading.Thread(target=answer_all, args=listener) for listener in listeners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = store.results()
    assert len(results) == 12 and all(r.finished for r in results)
    assert len(failed) == sum(len(exported.key.orders[place]) for _, place in listeners)


def test_an_answer_that_the_disk_does_not_take_is_not_acknowledged(exported, store):
    name, place = store.join()
    store._database.execute("PRAGMA query_only=ON")  # what a full or read-only disk amounts to
    with pytest.raises(sqlite3.OperationalError):
        store.add(name, answer_to(exported.key, exported.key.orders[place][0]))
    store._database.execute("PRAGMA query_only=OFF")
    assert store.results() == []
