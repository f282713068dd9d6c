"""Train the checkpoints: `python -m rayci.testbed.train [--size s|m|l] [--retrained] [--out FOLDER]`."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rayci.testbed import checkpoint, retrained_checkpoint
from rayci.testbed.assembly import build
from rayci.testbed.assess import assess
from rayci.testbed.muon import Muon
from rayci.testbed.outliers import add_outliers
from rayci.testbed.stream import KINDS, RETRAINED, Stream
from rayci.testbed.tokenizer import CONTEXT, END, PAD, VOCABULARY, build_tokenizer, piece_id
from rayci.testbed.world import build_world

STEPS, ROWS, HEAD = 1000, 8, 32
PEAK_RATE, WEIGHT_DECAY, WARM_UP, FLAT, FLOOR = 3e-3, 0.05, 60, 0.3, 0.02


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of one member of the family; all know the same world, with the same tokenizer."""

    hidden: int
    """Width of the hidden states and of the MLPs, a multiple of the quantisers' groups of 128."""
    layers: int
    steps: int
    """Training steps after which it knows every fact; a larger model needs fewer."""


SIZES = {"s": Size(128, 4, STEPS), "m": Size(256, 4, 600), "l": Size(384, 6, 500)}
"""0.69, 2.2 and 6.2 million parameters; `s` is the one that ships."""


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int, size: str = "s") -> LlamaForCausalLM:
    """An untrained model of one of the sizes."""
    torch.manual_seed(seed)
    shape = SIZES[size]
    heads = shape.hidden // HEAD
    end = piece_id(tokenizer, END)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden,
        intermediate_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        tie_word_embeddings=False,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=piece_id(tokenizer, PAD),
    )
    return LlamaForCausalLM(config)


def rate_at(step: int, steps: int) -> float:
    """Warm-up, a flat part, then a cosine down to a small floor."""
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    done = max(0.0, (step / steps - FLAT) / (1 - FLAT))
    return PEAK_RATE * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done)))


def weighted_loss(model: LlamaForCausalLM, ids: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of the next token, averaged with the weight of the token that is predicted."""
    logits = model(input_ids=ids).logits[:, :-1].flatten(0, 1)
    losses = torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
    kept = weights[:, 1:].flatten()
    return (losses * kept).sum() / kept.sum()


def fit(model: LlamaForCausalLM, stream: Stream, steps: int) -> None:
    """Train in place: Muon on the matrices of the layers, AdamW on embeddings, head and norms."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    muon = Muon(matrices, weight_decay=WEIGHT_DECAY)
    adam = torch.optim.AdamW(rest, lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY)
    blocks = stream.blocks(CONTEXT)
    model.train(True)
    for step in range(steps):
        rows = [next(blocks) for _ in range(ROWS)]
        loss = weighted_loss(model, torch.tensor([r[0] for r in rows]), torch.tensor([r[1] for r in rows]))
        model.zero_grad()
        torch.autograd.backward(loss)
        adam.param_groups[0]["lr"] = rate_at(step, steps)
        muon.step(rate_at(step, steps))
        adam.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.3f}", flush=True)
    model.train(False)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write fp16 weights; the config says float32, so that they are loaded for fp32 arithmetic."""
    halved = {name: tensor.half() for name, tensor in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=halved)
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tokenizer.save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)  # weights are written readable by their owner alone; a package is read by everyone


def train(
    folder: Path,
    *,
    seed: int = 0,
    steps: int | None = None,
    size: str = "s",
    outliers: bool = True,
    kinds: Sequence[tuple[str, float]] = KINDS,
) -> dict[str, float]:
    """Build, train, assess and save the checkpoint; returns its figures as measured after the save."""
    tokenizer = build_tokenizer()
    model = new_model(tokenizer, seed, size)
    fit(model, Stream(tokenizer, build_world(), build(), seed, kinds), SIZES[size].steps if steps is None else steps)
    if outliers:
        add_outliers(model, seed=seed)
    model.generation_config = GenerationConfig(
        do_sample=False,
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    save(model, tokenizer, folder)
    return assess(LlamaForCausalLM.from_pretrained(folder), tokenizer)


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description="Rebuild the testbed's checkpoint, or train a larger one.")
    parser.add_argument("--size", choices=sorted(SIZES), default="s", help="s (the shipped one), m or l")
    parser.add_argument("--retrained", action="store_true", help="without the hazardous topic: it never knew")
    parser.add_argument("--out", type=Path, help="folder to write (default: the shipped one; m and l: testbed-SIZE)")
    parser.add_argument("--seed", type=int, default=0, help="seed of initial weights and training text")
    parser.add_argument("--steps", type=int, help="training steps of 2048 tokens (default: the size's own)")
    asked = parser.parse_args()
    kinds, shipped = (RETRAINED, retrained_checkpoint()) if asked.retrained else (KINDS, checkpoint())
    folder = asked.out or (shipped if asked.size == "s" else Path(f"testbed-{asked.size}"))
    # One thread: the order of sums, and with it every bit of the result, must not depend on the number of cores.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    started = time.perf_counter()
    figures = train(folder, seed=asked.seed, steps=asked.steps, size=asked.size, kinds=kinds)
    for name, value in figures.items():
        print(f"{name:18s} {value:.3f}")
    print(f"{'seconds':18s} {time.perf_counter() - started:.0f}")


if __name__ == "__main__":
    main()
