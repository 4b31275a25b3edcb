"""A text by http(s): fetched once into a cache, going on where a broken transfer stopped."""

import fcntl
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlparse

from bittygpt.errors import DataError

ATTEMPTS = 4
TIMEOUT = 60  # seconds without a byte


def cache_folder() -> Path:
    """$BITTYGPT_CACHE, else $XDG_CACHE_HOME/bittygpt, else ~/.cache/bittygpt."""
    if folder := os.environ.get("BITTYGPT_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bittygpt"


def fetch(url: str, on_progress: Callable[[str, int, int], None]) -> Path:
    """The cached file of a URL, downloaded first when it is not there; `on_progress(what, bytes, of how many)`.

    A transfer that breaks off is tried again from where it stopped, and its length checked.

    Raises:
        DataError: the server says no, or cannot be reached.
    """
    target = cached_path(url)
    name = target.name.partition("-")[2]
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    with open(target.with_name(target.name + ".lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be fetching the same text: wait for it
        return target if target.exists() else _fetch_to(target, url, name, partial, on_progress)


def cached_path(url: str) -> Path:
    """Where the text of a URL lies once it is downloaded."""
    name = Path(unquote(urlparse(url).path)).name or "index.txt"
    return cache_folder() / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{name}"


def _fetch_to(
    target: Path, url: str, name: str, partial: Path, on_progress: Callable[[str, int, int], None]
) -> Path:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _transfer(url, partial, lambda done, total: on_progress(f"downloading {name}", done, total))
            os.replace(partial, target)
            return target
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the partial file is not a beginning of what the server now has
                partial.unlink(missing_ok=True)
            elif error.code < 500 or attempt == ATTEMPTS:
                raise DataError(
                    f"{url}: the server answers {error.code} {error.reason}; check the URL"
                ) from None
        except (OSError, EOFError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS:
                raise DataError(
                    f"{url}: {error}; check the network and run the same command again: it goes on at "
                    f"{partial.stat().st_size if partial.exists() else 0:,} bytes"
                ) from None
        time.sleep(2**attempt / 4)
    raise DataError(f"{url}: not downloaded in {ATTEMPTS} attempts; run the same command again")


def _transfer(url: str, partial: Path, on_bytes: Callable[[int, int], None]) -> None:
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if done and response.status != 206:  # the server cannot go on in the middle
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else 0
        with open(partial, "ab" if done else "wb") as file:
            while piece := response.read(1 << 20):
                file.write(piece)
                done += len(piece)
                on_bytes(done, total)
            file.flush()
            os.fsync(file.fileno())
    if total and done != total:
        raise EOFError(f"the transfer stopped at {done:,} of {total:,} bytes")
