"""The command line: `artv`. Commands are thin; exit codes are given here and nowhere else.

::

    0 done   1 failed   2 usage or storyboard   3 model missing or unusable
    4 another process holds the cache or the run folder   5 no space or output not writable
    130 interrupted
"""

from __future__ import annotations

import functools
import inspect
import itertools
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from artv_cli import __version__
from artv_cli.commands import cache, doctor, evaluate, models, prepare, render, storyboard, train
from artv_cli.commands.options import grouped, with_signature
from artv_cli.console import drop_stdout, emit, replace_closed_streams, say
from artv_cli.errors import ArtvError, CacheLocked, ModelError, StorageError, UsageError
from artv_cli.events import Events
from artv_cli.launcher import is_first
from artv_cli.messages import message, same_command

EXIT_CODES: dict[type[BaseException], int] = {
    UsageError: 2,
    ModelError: 3,
    CacheLocked: 4,
    StorageError: 5,
    ArtvError: 1,
    KeyboardInterrupt: 130,
    BrokenPipeError: 0,  # whoever read the result has had enough of it
}
"""The first class that an exception, as `messages` tells it, belongs to decides."""

_REFUSAL = typer.BadParameter.__mro__[1]  # Click's UsageError, which Typer brings along or imports

Debug = Annotated[bool, typer.Option("--debug", metavar="", help="Show the traceback of an error.")]


def exit_code(error: BaseException) -> int:
    """Return the exit code that says what kind of failure `error` is."""
    if isinstance(error, BrokenPipeError):
        return EXIT_CODES[BrokenPipeError]
    told = message(error, same_command()).counts_as
    return next(EXIT_CODES[kind] for kind in told.__mro__ if kind in EXIT_CODES)


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` as Typer runs it: with `--debug`, and every failure one sentence."""
    spread = grouped(command)

    @functools.wraps(spread)
    def run(*, debug: bool, **values: Any) -> None:
        try:
            spread(**values)
            sys.stdout.flush()
        except (typer.Exit, SystemExit):
            raise
        except BaseException as error:
            _report(error, debug=debug, json=values.get("json", False))
            raise typer.Exit(exit_code(error)) from None

    flag = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False)
    flag = flag.replace(annotation=Debug)
    return with_signature(run, [*inspect.signature(spread).parameters.values(), flag])


def _report(error: BaseException, *, debug: bool = False, json: bool = False) -> None:
    """Say on standard error what went wrong, and what to do next; with `json`, to programs too."""
    if isinstance(error, BrokenPipeError):
        drop_stdout()
        return
    if isinstance(error, KeyboardInterrupt) and not is_first():
        return  # of a launcher's processes, which are all asked to stop, the first one tells
    if json:
        Events().failed(error)
    if debug:
        traceback.print_exception(error)
    told = message(error, same_command())
    if isinstance(error, KeyboardInterrupt):
        say(f"\n{told}")
    else:
        say(f"error: {told}", "red")


def _app(help: str) -> typer.Typer:
    return typer.Typer(
        help=help,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


class _Command(TyperCommand):
    """A command that tells programs of its failure: of what Typer refuses by itself, too."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **how: Any
    ) -> Any:
        words = list(itertools.takewhile(lambda word: word != "--", args))  # Typer empties `args`
        try:
            return super().make_context(info_name, args, parent, **how)
        except Exception as refusal:
            has_json = any("--json" in parameter.opts for parameter in self.params)
            if isinstance(refusal, _REFUSAL) and has_json and "--json" in words:
                told = refusal.format_message()  # type: ignore[attr-defined]
                groups = parent.command_path.split()[1:] if parent else []
                name = " ".join(["artv", *groups, str(info_name)])
                Events().failed(UsageError(told, f"See what can be said: `{name} --help`."))
            raise


def _add(group: typer.Typer, panel: str | None, *commands: Callable[..., None]) -> None:
    for command in commands:
        group.command(command.__name__, cls=_Command, rich_help_panel=panel)(reported(command))


def _show_version(wanted: bool) -> None:
    if wanted:
        emit(f"artv {__version__}")
        raise typer.Exit()


_ABOUT = """Long-video storytelling: a storyboard becomes a film, frame by frame.

artv init                       write a storyboard to start from
artv story story.yaml           render it, reusing every frame that is there
artv t2v "a cat jumps"          make a clip from one sentence

A render that was stopped goes on when the same command is run again.
"""

app = _app(_ABOUT)


@app.callback()
def artv(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_show_version,
            is_eager=True,
            help="Print the version and stop.",
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


_add(app, "Render", render.story, render.animate, render.t2v, render.export)
_add(app, "Storyboards", storyboard.plan, storyboard.check, storyboard.init, storyboard.schema)

_cache = _app("Look after the cache of frames.")
_add(_cache, None, cache.ls, cache.verify, cache.prune)
app.add_typer(_cache, name="cache", rich_help_panel="Housekeeping")

_models = _app("Look at the models that artv can use, and make new ones.")
_add(_models, None, models.ls, models.show, models.init)
app.add_typer(_models, name="models", rich_help_panel="Housekeeping")

_add(app, "Training", prepare.prepare, train.train)

_evaluate = _app("Measure what a model draws.")
_add(_evaluate, None, evaluate.storybook)
app.add_typer(_evaluate, name="evaluate", rich_help_panel="Housekeeping")

_add(app, "Housekeeping", doctor.doctor)


def main() -> None:
    """Run artv from the command line; a polite kill counts as an interrupt, a hang-up as nothing.

    Work goes on when its terminal is closed, as by `nohup`.
    """
    replace_closed_streams()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):  # which not every system has
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        app(prog_name="artv")
    except OSError as error:  # of `--help` and `--version`, which are no command's
        _report(error)
        sys.exit(exit_code(error))
