"""Work that one process does while others, on this node and on others, wait for it.

A claim is a small file, made where there is none and written anew every `BEAT` seconds. Who waits takes over where the
holder is dead: a process of the same host that is gone, or a file that did not change for `PATIENCE` seconds of the
waiter's own clock. Two holders at a time are possible then (one was cut off, not dead) and must be harmless.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from socket import gethostname
from threading import Event, Thread
from typing import Any

from rayci.errors import StorageError
from rayci.storage.files import Files

BEAT = 10.0
"""Seconds between two signs of life of a holder."""
PATIENCE = 60.0
"""Seconds without one after which a holder of another host is taken for dead."""
_SHORTEST, _LONGEST = 0.02, 2.0
"""Seconds between two looks of who waits: at first, and in the end."""


Waiting = Callable[[], AbstractContextManager[Any]]
"""Entered while one waits: whoever counts seconds gives it."""


@contextmanager
def turn(files: Files, name: str, done: Callable[[], bool], waiting: Waiting = nullcontext) -> Iterator[None]:
    """Wait until nobody else holds the claim of this name, or all is `done`; inside it is one's own, if it was free.

    Nobody waits where the files do not answer.
    """
    token, taken = uuid.uuid4().hex, False
    with suppress(StorageError), waiting():
        taken = _taken(files, name, token, done)
    if not taken:
        yield
        return
    stop = Event()
    beating = Thread(target=_beat, args=(files, name, token, stop), daemon=True)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join()
        with suppress(StorageError):
            files.delete(name)


def _taken(files: Files, name: str, token: str, done: Callable[[], bool]) -> bool:
    seen, since, pause = b"", time.monotonic(), _SHORTEST
    while not files.create(name, _sign(token, 0)):
        if done():
            return False
        held = files.read(name) or b""
        if held != seen:
            seen, since = held, time.monotonic()
        if _gone(held) or time.monotonic() - since > PATIENCE:
            files.delete(name)
            continue
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST)
    return True


def _beat(files: Files, name: str, token: str, stop: Event) -> None:
    beats = 0
    while not stop.wait(BEAT):
        beats += 1
        with suppress(StorageError):
            files.write(name, _sign(token, beats))


def _sign(token: str, beats: int) -> bytes:
    return json.dumps({"host": gethostname(), "process": os.getpid(), "token": token, "beats": beats}).encode()


def _gone(held: bytes) -> bool:
    """Whether a claim is that of a process of this host which is not there any more."""
    try:
        holder = json.loads(held)
        if holder["host"] == gethostname():
            os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, TypeError, LookupError):  # another user's process; half written just now
        return False
    return False
