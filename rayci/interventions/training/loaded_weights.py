"""A checkpoint's weights under the parameters' names, read one at a time.

Where the files hold them so, they are read from there. What transformers renames or stacks while it loads, experts
that are stored one by one say, is loaded once on a node and written to a file that is read from then on.
"""

from __future__ import annotations

import copy
from functools import reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from rayci.fingerprint import fingerprint
from rayci.interventions.training.delta_tensors import FLOATS, TensorFiles
from rayci.model.folder import weight_files
from rayci.model.integrity import opening
from rayci.storage.file_hashes import hash_once
from rayci.storage.prepared import once


def stored_directly(folder: Path, model: PreTrainedModel) -> bool:
    """Whether the files hold every parameter of such a model under its name, in its shape."""
    headers = TensorFiles(weight_files(folder)).headers
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    return all(name in headers and headers[name].shape == shape for name, shape in shapes.items())


def as_loaded(folder: Path, model: PreTrainedModel) -> TensorFiles:
    """The parameters of a folder that such a model loads from, by name, as precise as they are stored."""
    files = weight_files(folder)
    if stored_directly(folder, model):
        return TensorFiles(files)
    dtype = reduce(torch.promote_types, {FLOATS[header.dtype] for header in TensorFiles(files).headers.values()})

    def make(path: Path) -> dict[str, Any]:
        config = copy.deepcopy(model.config)
        with opening(folder):
            loaded = type(model).from_pretrained(folder, config=config, dtype=dtype, use_safetensors=True)
        save_file({name: value.detach().contiguous() for name, value in loaded.named_parameters()}, path)
        return {}

    name = fingerprint([[hash_once(path) for path in files], type(model).__name__, str(dtype), version("transformers")])
    return TensorFiles([once(f"loaded-{name}.safetensors", make)[0]])
