"""The command line: which verbs there are, and what every one of them does with an error."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rayci import __version__
from rayci.commands import data_verbs, listing_verbs, model_verbs, result_verbs, run_verbs
from rayci.commands.console import notes, say
from rayci.commands.last_resort import unexpected
from rayci.commands.options import INTERRUPTED, OK, SOME_FAILED, WRONG_REQUEST
from rayci.errors import RayciError, RequestError

app = typer.Typer(
    help="Edit, compress and unlearn a language model in every order, and measure what survives.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all well, 1 some trials failed, 2 the request was wrong, 3 out of budget, 130 interrupted.",
)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Edit, compress and unlearn a language model in every order, and measure what survives."""
    if version:
        print(__version__)
        raise typer.Exit


for verb in (
    run_verbs.init,
    run_verbs.plan,
    run_verbs.run,
    run_verbs.status,
    result_verbs.metrics,
    result_verbs.compare,
    result_verbs.recommend,
    result_verbs.report,
    model_verbs.apply,
    model_verbs.inspect,
    listing_verbs.methods,
    listing_verbs.criteria,
    listing_verbs.doctor,
):
    app.command()(verb)
app.add_typer(data_verbs.data)


def main() -> None:
    """Entry point: whatever goes wrong is one message on standard error, never a traceback."""
    try:
        app(prog_name="rayci")
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(OK)
    except KeyboardInterrupt:
        notes.print("Interrupted. The same command continues.")
        sys.exit(INTERRUPTED)
    except Exception as error:
        expected = error if isinstance(error, RayciError) else unexpected(error)
        say(f"error: {expected}", "red", console=notes)
        sys.exit(WRONG_REQUEST if isinstance(error, RequestError) else SOME_FAILED)
