"""Where a harness task is written: the YAML files behind its name, found without reading the other 14 000."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rayci.criteria.harness.undisturbed import silent
from rayci.errors import RequestError, nearest, refuse
from rayci.fingerprint import hash_file

Index = Mapping[str, Any]
"""Name of a task, group or tag -> the harness's own entry: `kind`, `cfg` (its YAML, includes merged), `yaml_path`."""
_NAMED = re.compile(r"""^["']?(?:task|group)["']?[ \t]*:[ \t]*["']?([^\s"'#]+)""", re.MULTILINE)
_TAGGED = re.compile(r"^tag[ \t]*:(.*(?:\n[ \t]*-[ \t].*)*)", re.MULTILINE)
_WORD = re.compile(r"[\w.-]*\w")
_FUNCTION = re.compile(r"!function[ \t]+([\w.]+)\.\w+")
_FILE = re.compile(r"""[^\s\[\],"'-][^\s\[\],"']*""")
_INCLUDE = re.compile(r"^include[ \t]*:(.*(?:\n[ \t]*-[ \t].*)*)", re.MULTILINE)


def index(task: str, folder: Path | None) -> Index:
    """The entries of a task and of all that it is made of; those of the user's folder come before the harness's.

    Raises RequestError with the nearest name where there is none of that name, or no such folder.
    """
    if folder is None:
        return _built_in_index(task)
    if not folder.is_dir():
        raise RequestError(
            f"no folder {str(folder)!r}", hint="a folder with YAML files of tasks", key=("include_path",)
        )
    return _index(task, folder)


@cache
def _built_in_index(task: str) -> Index:
    return _index(task, None)


def _index(task: str, folder: Path | None) -> Index:
    from lm_eval.tasks import TaskManager

    folders: list[Path] = []
    while True:
        paths = [*folders, *([folder] if folder else [])]
        with silent():
            found: Index = TaskManager(include_defaults=False, include_path=paths or None).task_index
        missing = {name for name in _names_below(task, found) if name not in found}
        more = sorted({place for name in missing for place in _built_in().get(name, ())} - set(folders))
        if not more:
            break
        folders += more
    if task not in found:
        refuse(_unreadable(folder))
        known = sorted({*found, *_built_in()})
        raise RequestError(
            f"lm-eval has no task {task!r}" + (f", nor has {folder}" if folder else ""),
            allowed="a task or group of lm-eval, or of the YAML files in `include_path`",
            hint=nearest(task, known),
        )
    return found


def _unreadable(folder: Path | None) -> Iterator[RequestError]:
    """YAML files of the user's folder that are none: the harness passes over them without a word."""
    from lm_eval.tasks._yaml_loader import load_yaml

    for path in sorted(folder.rglob("*.yaml")) if folder else ():
        try:
            load_yaml(path, resolve_func=False)
        except Exception as error:
            yield RequestError(f"{path} cannot be read: {error}", key=("include_path",))


@cache
def _built_in() -> Mapping[str, set[Path]]:
    """Name of every task, group and tag of the harness -> folders where it is written: a look at lines, not YAML."""
    spec = importlib.util.find_spec("lm_eval")
    assert spec is not None and spec.origin is not None
    places: dict[str, set[Path]] = {}
    for folder, _, files in os.walk(Path(spec.origin).parent / "tasks"):
        for file in files:
            if file.endswith(".yaml"):
                text = Path(folder, file).read_text(encoding="utf-8")
                tags = (name for listed in _TAGGED.findall(text) for name in _WORD.findall(listed))
                for name in (*_NAMED.findall(text), *tags):
                    places.setdefault(name, set()).add(Path(folder))
    return places


def _names_below(task: str, found: Index) -> set[str]:
    """The task's name, and those of all tasks, groups and tags that it is made of, as far as they are found."""
    names, waiting = set[str](), [task]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += members(found[name]) if name in found else []
    return names


def members(entry: Any) -> list[str]:
    """Names of what a group or a tag is made of; none of a task."""
    if entry.kind.name == "TAG":
        return sorted(entry.tags)
    return list(_listed(entry.cfg)) if entry.kind.name == "GROUP" else []


def _listed(group: Mapping[str, Any]) -> Iterator[str]:
    listed = group.get("task") or []
    for item in [listed] if isinstance(listed, str) else listed:
        if isinstance(item, str):
            yield item
        elif isinstance(item.get("task"), str):
            yield item["task"]
        elif "group" in item and "task" not in item:
            yield item["group"]
        else:
            yield from _listed(item)  # a group that is written inside this one


def files(task: str, found: Index) -> list[Path]:
    """The files that say what a task is: its YAML, what that includes, and the Python files of its functions."""
    entries = (found[name] for name in _names_below(task, found) if name in found)
    waiting = [Path(entry.yaml_path) for entry in entries if entry.yaml_path]
    known: dict[Path, None] = {}
    while waiting:
        path = waiting.pop()
        if path in known or not path.is_file():
            continue
        known[path] = None
        if path.suffix != ".py":
            waiting += _named_in(path)
    return sorted(known)


def _named_in(path: Path) -> Iterator[Path]:
    text = path.read_text(encoding="utf-8")
    included = (name for listed in _INCLUDE.findall(text) for name in _FILE.findall(listed))
    functions = (f"{module.replace('.', '/')}.py" for module in _FUNCTION.findall(text))
    for name in (*included, *functions):
        yield path.parent / name


def digest(paths: list[Path]) -> list[tuple[str, str]]:
    """Names and hashes of files, in whatever folder they lie."""
    return sorted({(path.name, hash_file(path)) for path in paths})
