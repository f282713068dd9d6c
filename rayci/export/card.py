"""The model card: what was done to which model, what was measured, how it is stored, loaded and made again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version

import yaml

from rayci import __version__
from rayci.export.codes import PACKED_AS
from rayci.export.origin import FINGERPRINT_SHOWN, Origin, Value, settings_of
from rayci.export.packing import Packing
from rayci.kinds import Direction

REPRODUCE = "reproduce.yaml"
_BETTER = {Direction.HIGHER: "higher", Direction.LOWER: "lower", Direction.ZERO: "near 0", Direction.NONE: ""}


def card(origin: Origin, dtype: str, packing: Packing | None, dequantised: bool) -> str:
    """The text of README.md; `dequantised`: whether transformers unpacks the weights while it loads."""
    parts = [
        _front_matter(origin, packing),
        f"# {origin.base or 'A model'}: {f'`{origin.chain}`' if origin.chain else 'untouched'}",
        f"Made by rayci {__version__} from {_base(origin)}, in {dtype}"
        + (f"; {origin.draws}." if origin.draws else "."),
        *_steps(origin),
        *_values(origin.values),
        "## Weights",
        *_weights(packing, dtype, dequantised),
        *_dropped(origin),
        "## Load it",
        *_loading(packing),
        *_reproduction(origin),
        *_fingerprints(origin),
        "## Licence",
        f"That of the base model: see {_base(origin)}.",
    ]
    return "\n\n".join(parts) + "\n"


_EXAMPLE = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER_OR_NAME")
tokenizer = AutoTokenizer.from_pretrained("FOLDER_OR_NAME")
```"""


def _loading(packing: Packing | None) -> Iterator[str]:
    yield _EXAMPLE
    if packing is not None and packing.packed:
        versions = " and ".join(f"{name} {version(name)}" for name in ("compressed-tensors", "transformers"))
        yield f"Written for {versions}."


def _front_matter(origin: Origin, packing: Packing | None) -> str:
    facts: dict[str, object] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    facts["tags"] = ["rayci", *(["compressed-tensors"] if packing and packing.packed else [])]
    if origin.hub_id:
        facts["base_model"] = origin.hub_id
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---"


def _base(origin: Origin) -> str:
    name = origin.hub_id
    return f"[{origin.base}](https://huggingface.co/{name})" if name else f"`{origin.base or 'a model object'}`"


def _steps(origin: Origin) -> Iterator[str]:
    if not origin.steps:
        return
    rows = [(text, kind, json.dumps(settings, default=str)) for text, kind, settings in settings_of(origin.steps)]
    yield "## What was done"
    yield _table(("step", "kind", "settings"), [(f"`{text}`", kind, f"`{said}`") for text, kind, said in rows])
    told = [note for step in origin.steps for note in (*step.receipt.retries, *step.receipt.notes)]
    if told:
        yield "\n".join(f"- {note}" for note in told)


def _values(values: Iterable[Value]) -> Iterator[str]:
    rows = [
        (
            value.criterion,
            "" if value.untouched is None else f"{value.untouched:.4g}",
            f"{value.value:.4g}" + ("" if value.stderr is None else f" ± {value.stderr:.2g}"),
            "" if value.n is None else str(value.n),
            _BETTER[value.direction],
        )
        for value in values
    ]
    if rows:
        yield "## Readings"
        yield _table(("criterion", "untouched", "this model (± standard error)", "items", "better"), rows)


def _weights(packing: Packing | None, dtype: str, dequantised: bool) -> Iterator[str]:
    if packing is None or not packing.packed:
        yield f"Dense safetensors in {dtype}; pruned weights are stored as zeros."
    else:
        groups = "a scale a row" if packing.group_size is None else f"groups of {packing.group_size} columns"
        if packing.levels == "int":
            levels = f"{'levels around 0' if packing.symmetric else 'zero points'}, scales in float32"
        else:
            levels = f"`{PACKED_AS[packing.levels]}`"
        yield (
            f"{len(packing.packed)} weights of the decoder blocks are packed as compressed-tensors, "
            f"{packing.precision}, {groups}, {levels}; the rest is {dtype}. "
            "A zero takes as many bits as any other weight."
        )
        yield _exactness(packing, dtype, dequantised)
    if packing is not None and packing.dense:
        reasons = Counter(packing.dense.values())
        yield "Stored dense:\n" + "\n".join(f"- {count} weights: {reason}" for reason, count in reasons.items())


def _dropped(origin: Origin) -> Iterator[str]:
    steps = [step for step in origin.steps if step.intervention.name == "layerdrop"]
    blocks = dict.fromkeys(block for step in steps for block in step.receipt.kept)
    if blocks:
        names = ", ".join(f"`{block}`" for block in blocks)
        yield f"Zeros stand for the blocks that layerdrop took out, {names}: without them the model computes the same."


def _exactness(packing: Packing, dtype: str, dequantised: bool) -> str:
    if packing.levels == "nvfp4" and dtype != "bfloat16":
        return (
            "transformers unpacks them while it loads, as compressed-tensors does: rounded to bfloat16, "
            f"which the weights that were measured, in {dtype}, were not."
        )
    rounded = " (4 and 8 bits), with scales rounded to its dtype" if packing.levels == "int" else ""
    by_groups = packing.levels == "fp8" and packing.group_size is not None
    vllm = "vLLM takes fp8 with one scale a row alone." if by_groups else f"vLLM runs them packed{rounded}."
    if not dequantised:
        return (
            "transformers loads them packed and unpacks them at the first forward pass, bit for bit to the "
            f"weights that were measured. {vllm}"
        )
    experts = any(codes.codes.ndim > 2 for codes in packing.packed.values())
    exact = f"to what was measured before its rounding to {dtype}" if experts else "bit for bit to what was measured"
    choice = (
        f" `quantization_config=CompressedTensorsConfig(dequantize=False)` keeps them packed until the first forward "
        f"pass, with scales rounded to {dtype}."
        if packing.symmetric and packing.levels == "int"
        else ""
    )
    return f"transformers unpacks them while it loads, {exact}.{choice} {vllm}"


def _reproduction(origin: Origin) -> Iterator[str]:
    yield "## Make it again"
    if origin.reproduce is None:
        yield "Its data were given in memory, so no file repeats it; the settings are those above."
    else:
        stage = origin.fingerprints["stage"][:FINGERPRINT_SHOWN]
        yield f"```\nrayci apply {REPRODUCE} --stage {stage} --out FOLDER\n```"
        yield f"`{REPRODUCE}` names model and data as they were given; the same ones make the same weights bit for bit."


def _fingerprints(origin: Origin) -> Iterator[str]:
    if origin.fingerprints:
        yield "## Fingerprints"
        yield "\n".join(f"- {name}: `{digest}`" for name, digest in origin.fingerprints.items())


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
