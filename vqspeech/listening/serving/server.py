"""`vqspeech listening-test serve`: gives listeners their places, and keeps each answer before it acknowledges it."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

from vqspeech.errors import DependencyError, ListeningTestError
from vqspeech.listening.answers import Answer
from vqspeech.listening.design.folder import PAGE_FILES, SOUNDS, TEST_FILE, answers_path, read_test
from vqspeech.listening.serving.answer_store import AnswerStore, UnknownListenerError, parse_answer
from vqspeech.progress import Notify

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

API = "api/"
PER_S, BURST = 50.0, 500  # requests of one address: a class behind one router begins at once


@dataclass(frozen=True)
class ServingOptions:
    """Where a server listens, and who may come in.

    Attributes
    ----------
    host, port : address; port 0 takes a free one
    token : asked for; needed where the host is not this machine's own loopback
    per_s, burst : requests of one client address, in the long run and at once
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    per_s: float = PER_S
    burst: int = BURST

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can come in."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def shown_host(self) -> str:
        """How the host is written in a link; this machine's name where it listens at all its addresses."""
        if self.host in ("0.0.0.0", "::"):
            return gethostname()
        return f"[{self.host}]" if ":" in self.host else self.host


def serving_options(
    host: str, port: int, token: str | None, per_s: float = PER_S, burst: int = BURST
) -> ServingOptions:
    """Options with a token of its own where one is needed and none was given.

    Raises
    ------
    ListeningTestError
        If the given token is short enough to be guessed.
    """
    options = ServingOptions(host, port, token, per_s, burst)
    if token is not None and (
        len(token) < 8 or not token.isascii() or not all(c.isalnum() or c in "-_" for c in token)
    ):
        raise ListeningTestError("the token needs 8 letters, digits, - or _ at least. Leave --token out to get one")
    if token is None and not options.is_loopback:
        return ServingOptions(host, port, secrets.token_urlsafe(16), per_s, burst)
    return options


class AnswerQueue:
    """Takes answers as they come, and hands those that came while the disk was busy to the store together."""

    def __init__(self, store: AnswerStore) -> None:
        self._store = store
        self._waiting: list[tuple[tuple[str, Answer], asyncio.Future[None]]] = []
        self._work: asyncio.Task[None] | None = None

    async def keep(self, listener: str, answer: Answer) -> None:
        """Return when the answer is on disk; raises what `AnswerStore.add` does."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((listener, answer), done))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._hand_over())
        await done

    async def _hand_over(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            results: Sequence[Exception | None]
            try:
                results = await asyncio.to_thread(self._store.add_all, [given for given, _ in taken])
            except Exception as failure:  # a full disk: none of them is kept
                results = [failure] * len(taken)
            for (_, done), result in zip(taken, results, strict=True):
                if not done.cancelled():  # its listener may have left
                    done.set_exception(result) if result else done.set_result(None)


def make_app(folder: Path, store: AnswerStore, options: ServingOptions) -> Starlette:
    """The ASGI application: the page's own files, its sounds, and two verbs, `api/join` and `api/answers`.

    Nothing else of the folder is served, and nothing from outside it.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    from vqspeech.listening.serving.guards import Guards

    queue = AnswerQueue(store)

    def file(name: str) -> Callable[[Request], Response]:
        return lambda request: FileResponse(folder / name)

    async def served(request: Request) -> Response:
        text = f'"use strict";\nwindow.LISTENING_SERVER = {json.dumps({"api": API})};\n'
        return Response(text, media_type="text/javascript")

    async def join(request: Request) -> Response:
        if refusal := _not_json(request):
            return refusal
        try:
            values = json.loads(await request.body())
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict) or values.get("consented") is not True:
            return JSONResponse({"error": "nobody takes part without consent"}, 400)
        listener, place = await run_in_threadpool(store.join)
        return JSONResponse({"listener": listener, "place": place})

    async def answer(request: Request) -> Response:
        if refusal := _not_json(request):
            return refusal
        try:
            listener, given = parse_answer(await request.body())
            await queue.keep(listener, given)
        except UnknownListenerError as unknown:
            return JSONResponse({"error": str(unknown)}, 404)
        except ListeningTestError as wrong:
            return JSONResponse({"error": str(wrong)}, 422)
        return JSONResponse({"kept": given.trial})

    middleware = [Middleware(Guards, token=options.token, per_s=options.per_s, burst=options.burst)]
    if options.is_loopback:  # a page of elsewhere that calls this machine by a name of its own is not let in
        middleware.append(
            Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", options.host])
        )
    routes = [
        Route("/", file("index.html")),
        Route("/served.js", served),
        *[Route(f"/{name}", file(name)) for name in (*PAGE_FILES, TEST_FILE) if name != "served.js"],
        Route(f"/{API}join", join, methods=["POST"]),
        Route(f"/{API}answers", answer, methods=["POST"]),
        Mount(f"/{SOUNDS}", StaticFiles(directory=folder / SOUNDS)),
    ]
    return Starlette(routes=routes, middleware=middleware)


def _not_json(request: Request) -> Response | None:
    from starlette.responses import JSONResponse

    # A form of another site can send anything but this type.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return JSONResponse({"error": "expected application/json"}, 415)
    return None


def serve(folder: Path, options: ServingOptions, notify: Notify) -> int:
    """Serve a test until interrupted; gives the number of listeners whose answers are kept.

    Raises
    ------
    DependencyError
        If starlette or uvicorn is not installed.
    ListeningTestError
        If the folder is no whole test, its answers cannot be kept, or the port is taken.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError:
        raise DependencyError(
            "starlette and uvicorn are not installed: they serve the test. pip install 'vqspeech[listening]'"
        ) from None
    folder = folder.resolve()
    key = read_test(folder)
    store = AnswerStore(answers_path(folder), key)
    config = uvicorn.Config(
        make_app(folder, store, options), host=options.host, port=options.port, log_level="warning", access_log=False,
        server_header=False, limit_concurrency=1000, timeout_keep_alive=30, timeout_graceful_shutdown=5,
    )  # fmt: skip
    try:
        try:
            socket = config.bind_socket()
        except SystemExit:  # uvicorn logs the reason and ends the process
            raise ListeningTestError(
                f"cannot listen at {options.host}:{options.port}: is the port taken? Choose another with --port"
            ) from None
        socket.listen(config.backlog)  # who follows the link at once is not turned away
        port = socket.getsockname()[1]
        notify(f"http://{options.shown_host}:{port}/" + (f"?token={options.token}" if options.token else ""))
        notify(f"answers are kept in {answers_path(folder)}; Ctrl-C ends")
        uvicorn.Server(config).run(sockets=[socket])
        return len(store.results())
    finally:
        store.close()
