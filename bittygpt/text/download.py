"""A text by http(s): fetched once into a cache, going on where a broken transfer stopped."""

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlparse

from bittygpt.errors import DataError
from bittygpt.file_lock import file_lock
from bittygpt.files import cache_folder, sha256_of, write_json

Progress = Callable[[str, int, int], None]
ATTEMPTS = 4  # in a row without a byte
TIMEOUT = 60  # seconds without a byte


def fetch(url: str, on_progress: Progress) -> Path:
    """The cached file of a URL, downloaded first when it is not there; `on_progress(what, bytes, of how many)`.

    A transfer that breaks off goes on from where it stopped, if the server still has the same file. Its length is
    checked; with `#sha256=...` behind the URL its hash, too.

    Raises:
        DataError: the server says no, or cannot be reached, or the file is not the one of the hash.
    """
    target = cached_path(url)
    if _is_whole(target):
        _check_hash(url, target, on_progress)
        return target
    # another process may be fetching the same text: wait for it
    with file_lock(target.with_name(target.name + ".lock"), lambda: None):
        if not _is_whole(target):
            _Transfer(url, target, on_progress).run()
    return target


def cached_path(url: str) -> Path:
    """Where the text of a URL lies once it is downloaded."""
    address = urldefrag(url).url
    name = Path(unquote(urlparse(address).path)).name or "index.txt"
    return cache_folder() / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{name}"


def _wanted_hash(url: str) -> str | None:
    """What stands behind `#sha256=`."""
    key, _, value = urldefrag(url).fragment.partition("=")
    return value.lower() if key == "sha256" else None


def _facts_path(path: Path) -> Path:
    """What is known of a file, beside it: length and hash of a whole one, the server's version of a part."""
    return path.with_name(path.name + ".json")


def _facts(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_facts_path(path).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _is_whole(target: Path) -> bool:
    """A file in the cache has its own name only when it is whole; but others may have cut it since."""
    return target.exists() and _facts(target).get("bytes", target.stat().st_size) == target.stat().st_size


def _check_hash(url: str, path: Path, on_progress: Progress) -> str | None:
    """The hash of a file, where one is asked for: it is read once and then known.

    Raises:
        DataError: it is another one; the file is removed, as it would be found again.
    """
    wanted, size = _wanted_hash(url), path.stat().st_size
    if wanted is None:
        return None
    found = _facts(path).get("sha256") or sha256_of(path, lambda n: on_progress("checking the hash", n, size))
    if found != wanted:
        path.unlink()
        _facts_path(path).unlink(missing_ok=True)
        raise DataError(
            f"{url}: the file's SHA-256 is {found}, not the one behind the URL; mend that, or run the same "
            "command again to download it anew"
        )
    return str(found)


class _Transfer:
    """One file on its way into the cache, by way of `NAME.part`."""

    def __init__(self, url: str, target: Path, on_progress: Progress) -> None:
        self.url, self.target, self.on_progress = url, target, on_progress
        self.part = target.with_name(target.name + ".part")
        self.what = f"downloading {target.name.partition('-')[2]}"

    def run(self) -> None:
        """Fetch the file; tries that bring nothing new are counted, the others are not."""
        failures = 0
        while True:
            before = self._size()
            try:
                self._attempt()
                break
            except urllib.error.HTTPError as error:
                if error.code == 416:  # the part is no beginning of what the server has now
                    self.part.unlink(missing_ok=True)
                elif error.code < 500 or failures >= ATTEMPTS - 1:
                    raise DataError(
                        f"{self.url}: the server answers {error.code} {error.reason}; check the URL"
                    ) from None
            except (OSError, EOFError, http.client.HTTPException) as error:
                if failures >= ATTEMPTS - 1:
                    raise DataError(
                        f"{self.url}: {error}; check the network and run the same command again: it goes on at "
                        f"{self._size():,} bytes"
                    ) from None
            failures = 0 if self._size() > before else failures + 1
            time.sleep(2**failures / 4)
        sha256 = _check_hash(self.url, self.part, self.on_progress)
        write_json(_facts_path(self.target), {"url": self.url, "bytes": self._size(), "sha256": sha256})
        os.replace(self.part, self.target)
        _facts_path(self.part).unlink(missing_ok=True)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self) -> None:
        done, version = self._size(), _facts(self.part).get("version")
        # If-Range: the rest only if it is the rest of the same file, else all of it
        headers = {"Range": f"bytes={done}-", **({"If-Range": version} if version else {})} if done else {}
        request = urllib.request.Request(urldefrag(self.url).url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            if (
                done and response.status != 206
            ):  # another file by now, or a server that cannot go on in the middle
                done = 0
            if not done:
                version = response.headers.get("ETag") or response.headers.get("Last-Modified")
                is_strong = version and not version.startswith("W/")
                write_json(_facts_path(self.part), {"version": version if is_strong else None})
            length = response.headers.get("Content-Length")
            total = done + int(length) if length else 0
            with open(self.part, "ab" if done else "wb") as file:
                while piece := response.read(1 << 20):
                    file.write(piece)
                    done += len(piece)
                    self.on_progress(self.what, done, total)
                file.flush()
                os.fsync(file.fileno())
        if total and done != total:
            raise EOFError(f"the transfer stopped at {done:,} of {total:,} bytes")
