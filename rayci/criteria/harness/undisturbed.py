"""The harness prints, logs, draws from global streams and starts processes; nobody around it should notice."""

from __future__ import annotations

import io
import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

_PYTHON, _OTHER = 0, 1234
"""Seeds of the harness's command line (`lm_eval.defaults`) for Python's stream, and for those of numpy and torch."""


@contextmanager
def silent() -> Iterator[None]:
    """Inside, nothing is printed and the harness's logger only tells errors."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, global random streams are those of a run of the harness; afterwards they are as they were.

    Silent as well, and bootstraps run in this process: it may have a GPU open, and its cores are counted.
    """
    import numpy as np
    import torch

    streams, processes = (random.getstate(), np.random.get_state()), os.environ.get("DISABLE_MULTIPROC")
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        with silent(), torch.random.fork_rng(devices):
            random.seed(_PYTHON)
            np.random.seed(_OTHER)
            torch.manual_seed(_OTHER)
            yield
    finally:
        random.setstate(streams[0])
        np.random.set_state(streams[1])
        del os.environ["DISABLE_MULTIPROC"]
        if processes is not None:
            os.environ["DISABLE_MULTIPROC"] = processes
