"""Compress a model with llm-compressor; runs in that library's own environment.

    compress.py MODEL_FOLDER TOKENS.safetensors METHOD DEVICE BATCH [OUT.safetensors]

Prints the seconds of the compression alone and, on a GPU, the most memory that tensors took. There the model is in
bf16 and stays on the device; so do the states between its layers where BATCH, the sequences of a forward pass, is not
1, the library's default. On a CPU the model is in fp32.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

HEAD = "re:.*lm_head"
RECIPES = {
    "wanda": lambda: WandaPruningModifier(sparsity=0.5, ignore=[HEAD]),
    "sparsegpt": lambda: SparseGPTModifier(sparsity=0.5, ignore=[HEAD]),
    "gptq": lambda: GPTQModifier(targets="Linear", scheme="W4A16", actorder=None, dampening_frac=0.01, ignore=[HEAD]),
    "awq": lambda: [AWQModifier(), QuantizationModifier(targets="Linear", scheme="W4A16_ASYM", ignore=[HEAD])],
}


def main(folder: str, tokens_file: str, method: str, device: str, batch: str, out: str | None = None) -> None:
    torch.set_num_threads(1)
    gpu = device != "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16 if gpu else torch.float32, device_map=device
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = load_file(tokens_file)["tokens"]
    data = Dataset.from_dict({"input_ids": tokens.tolist(), "attention_mask": torch.ones_like(tokens).tolist()})
    asked: dict[str, Any] = {"batch_size": int(batch), "sequential_offload_device": device} if int(batch) > 1 else {}
    start = time.perf_counter()
    oneshot(
        model=model,
        processor=tokenizer,
        dataset=data,
        recipe=RECIPES[method](),
        max_seq_length=tokens.shape[1],
        num_calibration_samples=len(tokens),
        shuffle_calibration_samples=False,
        **asked,
    )
    if gpu:
        torch.cuda.synchronize()
        print(f"peak {torch.cuda.max_memory_allocated()}")
    print(f"seconds {time.perf_counter() - start}")
    if out is not None:
        weights = model.state_dict().items()
        save_file({name: value.contiguous() for name, value in weights if name.endswith("proj.weight")}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
