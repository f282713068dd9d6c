"""Quantise a matrix with the hqq package; runs in the oracles' own environment.

hqq_round.py WEIGHT.safetensors BITS GROUP OUT.safetensors
"""

from __future__ import annotations

import sys

import torch
from hqq.core.quantize import Quantizer
from safetensors.torch import load_file, save_file


def main(file: str, bits: str, group: str, out: str) -> None:
    torch.set_num_threads(1)
    codes, meta = Quantizer.quantize(
        load_file(file)["weight"],
        nbits=int(bits),
        group_size=int(group),
        optimize=True,
        axis=1,
        bitpack=False,
        device="cpu",
    )
    save_file({"codes": codes.contiguous(), **{part: meta[part].contiguous() for part in ("scale", "zero")}}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
