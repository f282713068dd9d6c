"""Round a matrix to nf4 with bitsandbytes on the CPU; runs in the oracles' own environment.

nf4_round.py WEIGHT.safetensors BLOCK OUT.safetensors
"""

from __future__ import annotations

import sys

import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from safetensors.torch import load_file, save_file


def main(file: str, block: str, out: str) -> None:
    torch.set_num_threads(1)
    codes, state = quantize_4bit(
        load_file(file)["weight"], blocksize=int(block), compress_statistics=False, quant_type="nf4"
    )
    save_file({"values": dequantize_4bit(codes, state), "largest": state.absmax}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
