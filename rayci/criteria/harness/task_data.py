"""Harness tasks with their data, which are the tasks' own: no part of a spec's data.

They come through Hugging Face `datasets`, from its cache, the hub, or files that a task's YAML names; names of
files stand relative to the YAML that holds them or, as in the harness, to the working directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

from rayci.criteria.harness.declared import leaves
from rayci.criteria.harness.task_files import Index, index
from rayci.criteria.harness.undisturbed import undisturbed
from rayci.data.hub_files import AbsentDataError
from rayci.errors import DataError, RequestError
from rayci.storage import hub_cache

_FORMATS = frozenset({"json", "parquet", "csv", "text", "arrow"})
"""Values of `dataset_path` that name no data set but the form of files."""


@lru_cache(maxsize=16)  # the criteria of a sweep; its stages share what was read and rendered
def loaded(task: str, folder: Path | None, content: tuple[tuple[str, str], ...], shots: int | None) -> dict[str, Any]:
    """`tasks`, by name, and `groups` of the harness, ready to be asked; `content` is that of their files, which change.

    Raises AbsentDataError where a data set is not here and cannot be fetched, DataError where it is no use.
    """
    from lm_eval.tasks import TaskManager

    entries = index(task, folder)
    asks_the_hub = any(leaf.get("dataset_path") not in _FORMATS for leaf in leaves(task, entries))
    silent = asks_the_hub and hub_cache.why_silent() is not None  # `datasets` would ask again for half a minute
    with undisturbed(), hub_cache.offline() if silent else nullcontext():
        manager = TaskManager(include_defaults=False)
        manager.task_index.update(_placed(entries, folder))
        try:
            made: dict[str, Any] = manager.load([task])
        except Exception as error:  # datasets, jinja and the task's own code raise what they like
            raise _fault(task, entries, error) from error
    for name, each in made["tasks"].items():
        if shots is not None and each.config.num_fewshot != 0:
            _check_examples(name, each, shots)
            each.set_config("num_fewshot", shots)
        elif each.config.num_fewshot is None:
            each.set_config("num_fewshot", 0)
    return made


def _check_examples(name: str, task: Any, shots: int) -> None:
    """DataError where a task has fewer examples than are asked for; the harness finds out when it draws them."""
    with undisturbed():
        held = (task.fewshot_docs() or ()) if shots else ()
    if len(held) < shots:
        hint = "fewer shots, or another `fewshot_split` in the task's YAML"
        raise DataError(f"{name}: shots = {shots}, and it has {len(held)} examples", hint=hint, key=("shots",))


def _fault(task: str, entries: Index, error: Exception) -> RequestError:
    """What to fetch, or what is wrong with what is here."""
    sets = {_data_set(leaf): _fetching(leaf) for leaf in leaves(task, entries)}
    network = "or `rayci data fetch`, where there is a network; HF_HOME says where it lies"
    problem, reason = f"lm_eval:{task} reads {', '.join(sorted(sets))}", (str(error).splitlines() or [""])[0]
    if isinstance(error, OSError):  # no connection, no such data set, no such file
        return AbsentDataError(
            f"{problem}: not on this machine, and not to be fetched ({type(error).__name__}: {reason})",
            hint=f"{next(iter(sets.values()))}, {network}",
        )
    return DataError(f"{problem}: it cannot be used as it is, {type(error).__name__}: {reason}")


def _data_set(task: Mapping[str, Any]) -> str:
    path, name = task.get("dataset_path"), task.get("dataset_name")
    if path in _FORMATS:
        return ", ".join(_named(task)) or str(path)
    return f"{path} ({name})" if name else str(path or "data of its own code")


def _fetching(task: Mapping[str, Any]) -> str:
    """The line of Python that fills the cache which the harness reads; a mere copy of the files is not seen there."""
    if task.get("dataset_path") in _FORMATS:
        return "files where the task's YAML names them"
    named = ", ".join(repr(task[key]) for key in ("dataset_path", "dataset_name") if task.get(key))
    return f"`datasets.load_dataset({named})`"


def data_files(task: str, entries: Index) -> list[Path]:
    """The local files of data that a task names, those that are there."""
    return [
        path
        for leaf in leaves(task, entries)
        if leaf.get("dataset_path") in _FORMATS
        for name in _named(leaf)
        for path in _glob(_place(name, _home(leaf, entries)))
    ]


def _home(task: Mapping[str, Any], entries: Index) -> Path:
    entry = entries.get(task["task"])
    return Path(entry.yaml_path).parent if entry is not None and entry.yaml_path else Path()


def _place(name: str, home: Path) -> Path:
    """A name or pattern of files beside the YAML where there are such, else in the working directory."""
    return home / name if _glob(home / name) else Path(name)


def _glob(place: Path) -> list[Path]:
    return sorted(place.parent.glob(place.name))


def _named(task: Mapping[str, Any]) -> Iterator[str]:
    """Names of files in `dataset_kwargs: {data_files: …}`: one, a list, or either for each split."""
    waiting = [(task.get("dataset_kwargs") or {}).get("data_files")]
    while waiting:
        files = waiting.pop(0)
        if isinstance(files, str):
            yield files
        elif files:
            waiting += list(files.values()) if isinstance(files, Mapping) else list(files)


def _placed(entries: Index, folder: Path | None) -> dict[str, Any]:
    """The same entries; those of the user's own folder with absolute names of files."""
    from lm_eval.tasks._yaml_loader import load_yaml

    placed = dict(entries)
    for name, entry in entries.items():
        path = Path(entry.yaml_path) if entry.yaml_path else None
        if path is not None and folder is not None and path.is_relative_to(folder):
            task = load_yaml(path)
            if task.get("dataset_path") in _FORMATS:
                task["dataset_kwargs"] = _absolute(task.get("dataset_kwargs") or {}, path.parent)
            placed[name] = type(entry)(name, entry.kind, None, task, entry.tags)
    return placed


def _absolute(given: Any, home: Path) -> Any:
    """Settings with the names in their `data_files` made absolute."""

    def there(files: Any) -> Any:
        if isinstance(files, str):
            return str(_place(files, home).absolute())
        return (
            {key: there(value) for key, value in files.items()} if isinstance(files, Mapping) else [*map(there, files)]
        )

    return {key: there(value) if key == "data_files" else value for key, value in given.items()}
