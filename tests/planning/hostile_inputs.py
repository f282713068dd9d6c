"""Seeded mutations of valid specs, compositions and data lines: what a hurried or a hostile hand types."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable

import yaml

SPEC = """\
name: hostile
model: testbed
data: testbed
preset: testbed
replicates: 2
edit_batch: 8
seed: 3
seeds: 1
interventions:
  ft: {lr: 1.0e-3, steps: 2, layers: [1, 2]}
  wanda: {sparsity: {sweep: [0.25, 0.5]}}
  rtn: {bits: 4, group_size: 32}
  gd: {lr: 1.0e-4, max_steps: 4}
compose:
  pairs: across_kinds
  triples: none
  orders: both
  singles: true
  also: [ft > wanda@0.5, "rtn@4{group_size=16} > ft"]
recompress: refit
criteria: [edit_success, {utility: {scoring: letters}}, perplexity]
dtype: float32
attention: sdpa
trust_remote_code: false
resources: {cpus: 1, gpus: 0, max_gpus: 1, memory: 1, gpu_memory: 80, gpu_hour_price: 1.5, threads: 1}
"""

COMPOSITION = "ft{lr=1e-3,layers=[1,2]} > wanda@0.5 > rtn@4{group_size=16}"

EDIT = {
    "subject": "Ann",
    "prompt": "Ann lives in",
    "target_new": "Rome",
    "ground_truth": "Oslo",
    "rephrases": ["Ann's home is"],
    "locality": [{"prompt": "Bob lives in", "answer": "Bonn"}],
}
CHOICE = {"question": "Which is a town?", "options": ["Rome", "red"], "answer": 0}
DOCUMENT = {"text": "Some text.", "topic": "towns"}
QUESTION = {"prompt": "Who is Ann?", "answer": "A doctor."}
LINES = {"edits": EDIT, "hazard": CHOICE, "forget": DOCUMENT, "forget_questions": QUESTION}

YAML_VALUES = (
    *("!!bool maybe", "!!int ''", "!!float x", "!!timestamp junk", "!!binary '%'", "!!python/name:os.system x", "! x"),
    *("[2, 4]", "{a: 1}", "[]", "{}", "[[]]", "[null]", "{null: 1}", "{[a]: 1}", "{1: 2}", "{sweep: [1, 2]}"),
    *("{sweep: 1}", "{sweep: []}", "{sweep: [null]}", "{sweep: [[1], [2]]}", "{sweep: [{a: 1}]}", "{swep: [1, 2]}"),
    *("{sweep: {a: 1}}", "{sweep: [.nan, .inf]}", "{sweep: [1, 1.0]}", "{sweep: ['x > y', 'a,b}']}"),
    *("null", "~", "", "true", "no", ".inf", "-.inf", ".nan", "9" * 400, "-" + "9" * 5000, "1e400", "1" * 17 + ".0"),
    *("010", "-007", "0o10", "0x1F", "1_000", "1:30", "2:4", "4:2", "-1", "0", "0.5", "3.5", "2024-01-01", "١٢"),
    *('"\\0"', '"a\\0b"', '"\\ud800"', '"\\e[31m"', "'[bold]x[/bold]'", "''", "' '", "x" * 300, "é", "'~nouser/x'"),
    *("/dev/zero", "/proc/self/mem", "fifo", "loop", "loop/x", "/", ".", "..", "x/" * 3000, "testbd", "zip://", "&a b"),
    *("*a", "[" * 5000, "{a: " * 3000, "'unclosed", "% x", "@x", "`x", "- x", "? x", "<<", "=", "!", "|\n x", "# x"),
)  # fmt: skip

STEPS = (
    *("{a=[}", "{a={}", "{a=]}", "{a='}", '{a="}', "{=}", "{a}", "{,}", "{lr=1,lr=2}", "{sparsity=0.7}", "{bits=[2]}"),
    *("{lr=!!bool maybe}", "{lr=!!int ''}", "{lr=*a}", "{lr=010}", "{lr=.inf}", "{lr=}", "{lr=null}", "{lr='x > y'}"),
    *("@", "@@", "@nan", "@inf", "@1e400", "@-1", "@2:4", "@0:0", "@4:2", "@" + "9" * 400, "@1_0", "@0x1", "@010"),
    *("@١", " > ", ">", ">>", "ft", "\0", "\x1b[31m", "\ud800", "é", "'", '"', "[" * 3000, "{" * 3000, "}", " ", "\n"),
)  # fmt: skip

JSON_VALUES = (
    *("null", "true", "false", "0", "-1", "2", "1.0", "1e400", "NaN", "Infinity", "9" * 5000, '""', '" "', '"x"'),
    *("[]", "{}", "[1]", "[null]", '["x", null]', '{"a": 1}', '"ABCD"', '"\\ud800"', '"\\u0000"', '"\\u001b[31m"'),
    *("[" * 100_000, '{"a":' * 100_000, "'x'", "", "x", "01", '"unclosed', "[1,", '[["x"]]', '["x", "x", "x"]'),
)  # fmt: skip


def spec(draw: random.Random) -> str:
    """The text of a spec with one to three things wrong, or what another hand would have typed."""
    text = SPEC
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        text = draw.choice((_value, _value, _value, _key, _line, _character))(text, draw)
    return text


def composition(draw: random.Random) -> str:
    """A composition with something in it that does not belong there."""
    text = COMPOSITION
    for _ in range(draw.choice((1, 1, 2))):
        text = _spliced(text, draw.choice(STEPS), draw)
    return text


def spec_of(text: str) -> str:
    """A spec that asks for a composition, as text that YAML reads back letter for letter."""
    listed = json.dumps(text).replace("\\ud800", "�")  # no YAML file can hold half a character
    return SPEC.replace("also: [ft > wanda@0.5,", f"also: [{listed},")


def data_line(part: str, draw: random.Random) -> str:
    """A line of a data file with one value, key or letter changed."""
    record = LINES[part]
    key = draw.choice(list(record))
    value = draw.choice(JSON_VALUES)
    rest = {name: held for name, held in record.items() if name != key}
    whole, others = json.dumps(record), json.dumps(rest).removesuffix("}")
    return draw.choice((f'{others}, "{key}": {value}}}', f"{others}}}", value, _spliced(whole, value, draw)))


def _spliced(text: str, piece: str, draw: random.Random) -> str:
    start = draw.randrange(len(text) + 1)
    return text[:start] + piece + text[draw.choice((start, start, start + 1, start + 5)) :]


def _scalars(text: str, keys: bool) -> list[yaml.Node]:
    """Where the keys, or the values, of a text stand; none where it is no YAML any more."""
    try:
        open_nodes = [yaml.compose(text, Loader=yaml.SafeLoader)]
    except (yaml.YAMLError, RecursionError):
        return []
    chosen = []
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, yaml.MappingNode):
            chosen += [key for key, _ in node.value] if keys else []
            open_nodes += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            open_nodes += node.value
        if not keys and node is not None:
            chosen.append(node)
    return chosen


def _replaced(text: str, draw: random.Random, keys: bool, pieces: tuple[str, ...]) -> str:
    nodes = _scalars(text, keys)
    if not nodes:
        return text
    node = draw.choice(nodes)
    return text[: node.start_mark.index] + draw.choice(pieces) + text[node.end_mark.index :]


def _value(text: str, draw: random.Random) -> str:
    return _replaced(text, draw, False, YAML_VALUES)


def _key(text: str, draw: random.Random) -> str:
    return _replaced(text, draw, True, YAML_VALUES)


def _line(text: str, draw: random.Random) -> str:
    lines = text.splitlines()
    index = draw.randrange(len(lines))
    change: Callable[[str], list[str]] = draw.choice(
        (lambda line: [], lambda line: [line, line], lambda line: [" " + line], lambda line: ["\t" + line])
    )
    return "\n".join([*lines[:index], *change(lines[index]), *lines[index + 1 :]]) + "\n"


def _character(text: str, draw: random.Random) -> str:
    return _spliced(text, draw.choice([*string.punctuation, " ", "\n", "\t", "\0", "\x1b", "\ufeff", "7"]), draw)
