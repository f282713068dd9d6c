"""The options of `rayci run`, which become the `Knobs` of the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rayci.kinds import Keep

RunFolder = Annotated[Path | None, typer.Option("--out", help="Run folder.", show_default="runs/<name>")]
Store = Annotated[
    str | None,
    typer.Option(help="Stage store to share with other runs, a folder or a URL.", show_default="<out>/store"),
]
Storage = Annotated[
    str | None, typer.Option(help="Folder or URL that all nodes see, for rows and stages.", show_default="<out>")
]
StoreLimit = Annotated[float | None, typer.Option(help="GiB that stored weights may take.", min=0)]
Address = Annotated[str | None, typer.Option(help="Join a running Ray cluster.")]
GpuLimit = Annotated[
    float | None, typer.Option(help="GPUs that trials take at a time.", show_default="all that there are")
]
Only = Annotated[list[str] | None, typer.Option(help="Only this composition; may be repeated.")]
Replicate = Annotated[int | None, typer.Option(help="Only this edit batch.")]
Seed = Annotated[int | None, typer.Option(help="Only this seed index.")]
Debug = Annotated[bool, typer.Option("--debug", help="Run one trial in this process, with tracebacks; writes nothing.")]
Log = Annotated[list[str] | None, typer.Option(help="Also log to wandb, mlflow or tensorboard.")]
Sharing = Annotated[bool, typer.Option("--sharing/--no-sharing", help="Share stages between trials.")]
Kept = Annotated[
    Keep,
    typer.Option(help="Whose weights stay in the store: all stages', those that several trials go on from, none."),
]
KeepWeights = Annotated[bool, typer.Option("--keep-weights", hidden=True, help="Old name of --keep all.")]
MaxCost = Annotated[float | None, typer.Option(help="USD for GPUs; hands out no trial that would pass it.")]
MaxHours = Annotated[float | None, typer.Option(help="Hours; hands out no trial that would end later.")]
Deadline = Annotated[str | None, typer.Option(help="The same with a time, 08:00 or 2026-12-01T08:00.", metavar="TIME")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Compute failed stages again.")]
Preflight = Annotated[
    bool, typer.Option("--preflight/--no-preflight", help="Look at the nodes before the first trial.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")]
