"""`rayci apply` and `inspect`: one composition's model, to be kept or to be asked."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rayci.commands.console import Format, notes, say, show
from rayci.commands.options import FormatOption, SpecPath, listed, names
from rayci.errors import RequestError
from rayci.kinds import Recompress

if TYPE_CHECKING:
    from rayci.commands.model_requests import Place
    from rayci.export.inspection import Said
    from rayci.export.packing import Packing
    from rayci.export.wanted import Wanted

Dtype = Literal["float32", "bfloat16", "float16"]


def apply(
    model: Annotated[
        str | None,
        typer.Argument(help="testbed, a folder, a hub id, or a spec.", metavar="MODEL", show_default=False),
    ] = None,
    chain: Annotated[
        str | None, typer.Argument(help='What to apply: "memit > awq@4".', metavar="CHAIN", show_default=False)
    ] = None,
    target: Annotated[Path | None, typer.Option("--out", help="A new folder for the checkpoint.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder with edits.jsonl, calibration.jsonl, …; or published.")
    ] = None,
    edit_batch: Annotated[int | None, typer.Option(help="Edits in a batch.", min=1, show_default="all of DATA")] = None,
    settings: Annotated[Path | None, typer.Option(help="YAML of method: {setting: value}.")] = None,
    assigned: Annotated[list[str] | None, typer.Option("--set", help="awq.group_size=64; may be repeated.")] = None,
    preset: Annotated[str | None, typer.Option(help="Preset of every method.", show_default="published")] = None,
    recompress: Annotated[
        Recompress | None, typer.Option(help="After compress, then edit.", show_default="refit")
    ] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Weights and arithmetic.", show_default="float32")] = None,
    measure: Annotated[
        list[str] | None, typer.Option(help="Criteria for the card, with commas.", autocompletion=names("criteria"))
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="A run folder, in place of MODEL and CHAIN.")] = None,
    stage: Annotated[str | None, typer.Option(help="Of a run or spec: the beginning of a stage's fingerprint.")] = None,
    only: Annotated[str | None, typer.Option(help="Of a run or spec: a composition.")] = None,
    replicate: Annotated[int, typer.Option(help="Of a run or spec: the edit batch.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed; of a run or spec: the seed index.")] = 0,
    hub: Annotated[str | None, typer.Option("--push-to-hub", help="owner/name to upload to.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
) -> None:
    """Apply a composition to a model and write the checkpoint, or that of a stage of a run."""
    from rayci.commands import model_requests
    from rayci.export import building, from_run
    from rayci.export import hub as hubs

    folder = _folder_for(target, hub, private=private)
    own = {"data": data, "edit_batch": edit_batch, "preset": preset, "recompress": recompress, "dtype": dtype}
    texts = model_requests.settings(settings, assigned or ())
    criteria = listed(measure)
    place: Place = {"stage": stage, "only": only, "replicate": replicate, "seed": seed}
    wanted = model_requests.wanted(model, chain, run, texts, criteria, own, place)
    known = () if run is None else from_run.values(run, wanted)
    built = building.build(wanted, measure=bool(criteria), values=known, tell=partial(say, console=notes))
    from rayci.export import checkpoint  # loads what packs weights: a request that is refused does not wait for it

    packing = checkpoint.save(built.subject, folder, origin=built.origin)
    _tell(wanted, built.applied, packing, built.notes)
    say(str(folder))
    if hub is not None:
        say(hubs.push(folder, hub, private=private))


def inspect(
    spec: SpecPath,
    only: Annotated[str, typer.Option(help="The composition.")],
    prompt: Annotated[list[str], typer.Option(help="What the model is to go on from; may be repeated.")],
    top: Annotated[int, typer.Option(help="How many tokens.", min=1)] = 5,
    replicate: Annotated[int, typer.Option(help="The edit batch.")] = 0,
    seed: Annotated[int, typer.Option(help="The seed index.")] = 0,
    store: Annotated[str | None, typer.Option(help="Stored stages.", show_default="those of runs/<name>")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the most probable next tokens after a prompt, on the untouched model and after every step."""
    from rayci.commands import model_requests
    from rayci.export.inspection import inspect as asked

    wanted = model_requests.of_spec_with_store(spec, store, only, replicate, seed)
    said = list(asked(wanted, prompt, top))
    if format is Format.TABLE:
        for text in prompt:
            show([_line(one) for one in said if one.prompt == text], format, title=repr(text))
    else:
        show([row for one in said for row in _rows(one)], format)


def _folder_for(target: Path | None, hub: str | None, *, private: bool) -> Path:
    """The folder of the checkpoint; RequestError where it, or what the hub is to be told, cannot be."""
    from rayci.export import hub as hubs
    from rayci.export.whole_folder import refuse_occupied

    if target is None:
        raise RequestError("there is no folder for the checkpoint", at="--out", hint="--out FOLDER")
    folder = refuse_occupied(target)
    if private and hub is None:
        raise RequestError("--private without --push-to-hub", hint="--push-to-hub owner/name")
    if hub is not None:
        hubs.refuse_name(hub)
    return folder


def _tell(wanted: Wanted, applied: int, packing: Packing | None, told: tuple[str, ...]) -> None:
    if wanted.store is not None:
        say(f"{wanted.depth - applied} of {wanted.depth} steps came from the run's store", console=notes)
    if packing is not None:
        say(f"{len(packing.packed)} weights packed in {packing.precision}, {len(packing.dense)} dense", console=notes)
    for note in told:
        say(f"· {note}", console=notes)


def _line(said: Said) -> dict[str, Any]:
    """One stage as a row for people."""
    cells = [f"{token.text!r} {token.probability:.3f}" for token in said.tokens]
    return {"stage": said.stage.chain or "untouched", **{str(rank): cell for rank, cell in enumerate(cells, start=1)}}


def _rows(said: Said) -> list[dict[str, Any]]:
    """One row a token for programs."""
    stage = {"stage": said.stage.depth, "chain": said.stage.chain, "stage_fingerprint": said.stage.fingerprint}
    return [
        {**stage, "prompt": said.prompt, "rank": rank, "token": token.text, "probability": token.probability}
        for rank, token in enumerate(said.tokens, start=1)
    ]
