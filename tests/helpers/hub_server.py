"""A Hugging Face Hub on this machine: the part of its interface that fetching files asks for, on 127.0.0.1."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMITS = {"main": "a" * 40, "v1": "b" * 40}


@contextmanager
def serve(repositories: dict[str, dict[str, dict[str, bytes]]]):
    """Serve `repositories`: owner/name -> revision ("main", "v1") -> file -> bytes; gives address and requests."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            requests.append(f"{self.command} {self.path}")
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self._tell("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
            elif len(parts) > 4 and parts[2] == "resolve":
                self._give("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
            else:
                self._refuse("EntryNotFound")

        def _files(self, repo: str, revision: str) -> dict[str, bytes] | None:
            if repo not in repositories:
                return self._refuse("RepoNotFound")
            names = {commit: name for name, commit in COMMITS.items()}
            files = repositories[repo].get(names.get(revision, revision))
            return self._refuse("RevisionNotFound") if files is None else files

        def _tell(self, repo: str, revision: str) -> None:
            if (files := self._files(repo, revision)) is not None:
                listed = [{"rfilename": name} for name in files]
                body = json.dumps({"id": repo, "sha": COMMITS[revision], "siblings": listed, "tags": []}).encode()
                self._send(200, body, {"Content-Type": "application/json"})

        def _give(self, repo: str, revision: str, name: str) -> None:
            if (files := self._files(repo, revision)) is None:
                return
            if name not in files:
                return self._refuse("EntryNotFound")
            etag = hashlib.sha256(files[name]).hexdigest()
            commit = revision if len(revision) == 40 else COMMITS[revision]
            self._send(200, files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": commit})

        def _refuse(self, code: str) -> None:
            self._send(404, b"{}", {"X-Error-Code": code})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
