"""Downloads against a server of our own on the loopback address, which stops in the middle and refuses."""

import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from bittygpt.errors import DataError
from bittygpt.text import download
from bittygpt.text.download import fetch

BODY = bytes(range(256)) * 2000


class Server(BaseHTTPRequestHandler):
    """Breaks off each transfer after `at_once` bytes; honours ranges of its present version; has no /missing.txt."""

    requests: ClassVar[list[str]] = []
    at_once: ClassVar[int] = len(BODY) // 2
    version: ClassVar[str] = '"one"'
    body: ClassVar[bytes] = BODY

    def do_GET(self) -> None:
        given = self.headers.get("Range", "")
        self.requests.append(given)
        if self.path == "/missing.txt":
            self.send_error(404)
            return
        if self.headers.get("If-Range", self.version) != self.version:
            given = ""
        start = int(given[6:-1]) if given else 0
        self.send_response(206 if given else 200)
        self.send_header("Content-Length", str(len(self.body) - start))
        self.send_header("ETag", self.version)
        self.end_headers()
        self.wfile.write(self.body[start : start + self.at_once])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("BITTYGPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    Server.requests.clear()
    Server.at_once, Server.version, Server.body = len(BODY) // 2, '"one"', BODY
    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_broken_transfer_goes_on_where_it_stopped_and_is_fetched_once(server):
    seen = []
    path = fetch(f"{server}/text.txt", lambda what, done, total: seen.append((what, done, total)))
    assert path.read_bytes() == BODY
    assert Server.requests[0] == ""
    assert Server.requests[1] == f"bytes={len(BODY) // 2}-"
    assert seen[-1] == ("downloading text.txt", len(BODY), len(BODY))
    assert fetch(f"{server}/text.txt", lambda *_: None) == path
    assert len(Server.requests) == 2


def test_a_refusal_names_url_and_answer(server):
    with pytest.raises(DataError, match=r"/missing\.txt: the server answers 404"):
        fetch(f"{server}/missing.txt", lambda *_: None)


@pytest.mark.usefixtures("server")
def test_an_unreachable_server_is_an_error_with_a_remedy():
    with pytest.raises(DataError, match="check the network and run the same command again"):
        fetch("http://127.0.0.1:9/text.txt", lambda *_: None)


def test_processes_that_fetch_the_same_text_at_once_do_not_mix_their_bytes(server, tmp_path):
    code = "import sys; from bittygpt.text.download import fetch; print(fetch(sys.argv[1], lambda *_: None))"
    environment = {**os.environ, "BITTYGPT_CACHE": str(tmp_path / "cache")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, f"{server}/text.txt"], env=environment, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    paths = {process.communicate()[0] for process in processes}
    assert len(paths) == 1
    assert Path(paths.pop().decode().strip()).read_bytes() == BODY
    assert len(Server.requests) == 2  # one process alone fetched, and went on once


def test_a_transfer_may_break_off_often_as_long_as_it_gets_on(server):
    Server.at_once = len(BODY) // 20
    assert fetch(f"{server}/text.txt", lambda *_: None).read_bytes() == BODY
    assert len(Server.requests) == 20


def test_a_part_of_an_older_file_is_not_gone_on_with(server):
    Server.at_once = len(BODY) // 3

    def stop(_what, done, _total):
        if done == len(BODY) // 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server}/text.txt", stop)
    Server.version, Server.body, Server.at_once = '"two"', BODY[::-1], len(BODY)
    assert fetch(f"{server}/text.txt", lambda *_: None).read_bytes() == BODY[::-1]


def test_the_hash_behind_a_url_is_checked_at_once_and_from_the_cache(server):
    good, bad = (
        f"{server}/text.txt#sha256={value}" for value in (hashlib.sha256(BODY).hexdigest(), "0" * 64)
    )
    with pytest.raises(DataError, match=r"the file's SHA-256 is .* not the one behind the URL"):
        fetch(bad, lambda *_: None)
    path = fetch(good, lambda *_: None)
    assert path == fetch(f"{server}/text.txt", lambda *_: None)
    requests = len(Server.requests)
    assert fetch(good, lambda *_: None) == path
    assert len(Server.requests) == requests
    with pytest.raises(DataError, match="not the one behind the URL"):
        fetch(bad, lambda *_: None)
    assert not path.exists()


def test_a_cached_file_that_was_cut_is_fetched_anew(server):
    path = fetch(f"{server}/text.txt", lambda *_: None)
    path.write_bytes(BODY[:100])
    assert fetch(f"{server}/text.txt", lambda *_: None).read_bytes() == BODY
