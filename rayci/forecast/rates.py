"""What a machine does in a second, measured in a few: products, memory, calls, its disk.

    rates = measure("cuda", folder)      seconds on a GPU, on a CPU less than ten
    save([rates], folder)                probe.json, an entry for each type of node
    saved(folder)

Products of the size that decides a sweep's hours: 8192² on a GPU, 512² on a CPU. Those of a CPU are of one core,
in processor time, so that what else runs there counts little; a trial's threads multiply them.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

import torch

from rayci.errors import CorruptionError
from rayci.forecast.host import cpu_name, host_bytes
from rayci.storage import entries
from rayci.storage.atomic import no_full_disk, replacing

PROBE = "probe.json"
"""The file of rates in a run folder."""
FILE_BYTES = 10**9
"""Bytes that are written and read beside a GPU; a sixteenth of them on a CPU, and a tenth of the room at most."""
_CHUNK = 2**24
_BLOCKS = 8


@dataclass(frozen=True)
class Rates:
    """One machine, seen from a trial: its device, host and disk."""

    device: str
    """Name of the device, as its maker calls it."""
    kind: str
    """`cpu` or `cuda`."""
    memory_bytes: int
    """Memory of the device."""
    bf16: float
    """Operations a second of a product in bf16; on a CPU those of fp32, for models are loaded in fp32 there."""
    fp32: float
    """The same in fp32."""
    fp64: float
    """The same in float64."""
    moved: float
    """Bytes a second that a function of each number for itself reads and writes."""
    block_seconds: float
    """Seconds of a decoder block on one token of a tiny model: what its calls take, however few the numbers are."""
    read: float
    """Bytes a second from a file that no cache holds."""
    written: float
    """Bytes a second to a file, until the disk has them."""
    host_bytes: int
    """Memory of the host, or what its container may take."""
    disk_free_bytes: int
    """Room where the file was written."""

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Self:
        """From JSON; CorruptionError where it is none of this version."""
        try:
            return cls(**entry)
        except TypeError as error:
            raise CorruptionError(f"rates of another version of rayci: {error}") from None


def measure(device: str, folder: Path) -> Rates:
    """Measure the device (`cpu`, `cuda`, `cuda:1`), and the disk of `folder`, which is made if need be.

    Raises StorageError where the disk is full or the folder cannot be made.
    """
    chosen = torch.device(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        on_device = _of_device(chosen)
    finally:
        torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    read, written = _of_disk(folder, min(FILE_BYTES if chosen.type == "cuda" else FILE_BYTES // 16, free // 10))
    host = host_bytes()
    memory = torch.cuda.get_device_properties(chosen).total_memory if chosen.type == "cuda" else host
    return Rates(
        device_name(chosen),
        chosen.type,
        memory,
        **on_device,
        read=read,
        written=written,
        host_bytes=host,
        disk_free_bytes=free,
    )


def device_name(device: torch.device) -> str:
    """What the maker calls a device: tells apart those whose rates differ."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else cpu_name()


def save(rates: Iterable[Rates], folder: Path) -> None:
    """Write them into a run folder, in place of what is there."""
    with replacing(folder / PROBE) as temporary:
        temporary.write_bytes(entries.encode({"nodes": [asdict(each) for each in rates]}, PROBE, indent=1))


def saved(folder: Path) -> list[Rates]:
    """The rates in a run folder; none where no probe was made, or what it left is damaged."""
    try:
        return [Rates.of(entry) for entry in entries.read(folder / PROBE).get("nodes", ())]
    except CorruptionError:
        return []


def _of_device(device: torch.device) -> dict[str, float]:
    gpu = device.type == "cuda"
    side = 8192 if gpu else 512
    single = _product(device, torch.float32, side)
    return {
        "bf16": _product(device, torch.bfloat16, side) if gpu else single,
        "fp32": single,
        "fp64": _product(device, torch.float64, side // 2),
        "moved": _moved(device, 2**28 if gpu else 2**20),
        "block_seconds": _block(device),
    }


def _product(device: torch.device, dtype: torch.dtype, side: int) -> float:
    left, right = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2.0 * side**3 / _seconds(lambda: left @ right, device)


def _moved(device: torch.device, numbers: int) -> float:
    values = torch.ones(numbers, device=device)
    return 2.0 * values.nbytes / _seconds(lambda: torch.nn.functional.silu(values), device)


@torch.no_grad()
def _block(device: torch.device) -> float:
    from transformers import LlamaConfig, LlamaForCausalLM  # slow to import, and only measuring needs it

    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "vocab_size": 64}
    with torch.random.fork_rng():
        model: Any = LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=_BLOCKS)).eval()
    model.to(device)
    token = torch.ones(1, 1, dtype=torch.long, device=device)
    return _seconds(lambda: model(input_ids=token, use_cache=False), device) / _BLOCKS


def _seconds(work: Callable[[], object], device: torch.device, runs: int = 7) -> float:
    """The median of some runs after one that does not count; of a CPU processor time."""
    gpu = device.type == "cuda"
    clock = time.perf_counter if gpu else time.thread_time
    taken = []
    for _ in range(runs + 1):
        start = clock()
        work()
        if gpu:
            torch.cuda.synchronize(device)
        taken.append(clock() - start)
    return max(median(taken[1:]), 1e-9)


def _of_disk(folder: Path, size: int) -> tuple[float, float]:
    """Bytes a second read and written, of a file of so many bytes that is deleted again."""
    path = folder / f".{PROBE}.{uuid.uuid4().hex}"
    block = os.urandom(min(_CHUNK, max(size, 1)))
    try:
        with no_full_disk(path), path.open("wb") as stream:
            start = time.perf_counter()
            for _ in range(max(size // len(block), 1)):
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
            count, written = stream.tell(), time.perf_counter() - start
            if hasattr(os, "posix_fadvise"):  # the cache would answer in the disk's place
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        with path.open("rb", buffering=0) as stream:
            while stream.read(_CHUNK):
                pass
        return count / (time.perf_counter() - start), count / written
    finally:
        path.unlink(missing_ok=True)
