"""Foreign surroundings: folders named like ours, a foreign model, foreign data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, set_seed

from rayci import table
from rayci.testbed import checkpoint, collection

FOREIGN = """\
model: {model}
data: {data}
preset: testbed
edit_batch: 4
replicates: 1
interventions:
  ft: {{}}
  wanda: {{sparsity: {{sweep: [0.25, 0.5]}}, sequences: 8, length: 32}}
  gd: {{samples: 8}}
criteria: [edit_success, edit_generalization, edit_locality, hazard, utility, perplexity, avg_bits]
"""


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def shadowed(tmp_path: Path) -> Path:
    """A research repository with folders of our names that would break whoever imports them."""
    for name in ("analysis", "trials"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('the foreign {name} was imported')\n")
    return tmp_path


def test_script_beside_foreign_packages(shadowed: Path) -> None:
    (shadowed / "script.py").write_text(
        "from rayci import analysis\nprint(len(analysis.metrics(analysis.load('published:llama3_8b'))))\n"
    )
    assert int(run(shadowed, "script.py")) > 100


@pytest.fixture
def foreign_model(tmp_path: Path) -> Path:
    """A random Llama of another shape, with a tokenizer."""
    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint())
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def foreign_data(tmp_path: Path) -> Path:
    """Local files in the documented schema."""
    folder, source = tmp_path / "data", collection()
    folder.mkdir()
    edits = [
        {
            "subject": edit.subject,
            "prompt": edit.prompt,
            "target_new": edit.target_new,
            "ground_truth": edit.ground_truth,
            "rephrases": list(edit.rephrases),
            "locality": [{"prompt": item.prompt, "answer": item.answer} for item in edit.locality],
        }
        for edit in source.edits[:8]
    ]
    parts = {
        part: [{"text": d.text} for d in getattr(source, part)[:120]] for part in ("forget", "retain", "calibration")
    }
    parts["evaluation"] = [{"text": document.text} for document in source.evaluation[:10]]
    for part in ("hazard", "utility"):
        parts[part] = [
            {"question": q.question, "options": list(q.options), "answer": q.answer} for q in getattr(source, part)[:12]
        ]
    for part, records in (parts | {"edits": edits}).items():
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_foreign_model_and_data_beside_foreign_packages(
    foreign_model: Path, foreign_data: Path, shadowed: Path
) -> None:
    (shadowed / "foreign.yaml").write_text(FOREIGN.format(model=foreign_model, data=foreign_data))
    text = run(shadowed, "-m", "rayci", "run", "foreign.yaml")
    assert "ft × wanda" in text
    frame = table.read(shadowed / "runs" / "foreign").frame
    assert set(frame["status"]) == {"ok"}, frame[frame["status"] != "ok"]["reason"].unique()
    final = frame[frame["final"] & (frame["criterion"] == "edit_success")].set_index(["composition", "replicate"])[
        "value"
    ]
    assert final.loc[("ft", 0)] > 0.5 > final.loc[("wanda@0.25", 0)]
