"""The command line: one file a command, each parses, calls one function, prints.

A command's module is imported only when that command is run or asked for help, so `annotator --help` answers at once.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from annotator import __version__
from annotator.errors import AnnotatorError

# name -> (module, help). The module holds a function of that name, or a group of commands as a typer.Typer named `app`.
COMMANDS = {
    "init": ("annotator.cli.init", "Make a project from annotation files and their pictures."),
    "propose": ("annotator.cli.propose", "Propose the keypoints that people lack."),
    "select": ("annotator.cli.select", "Choose the people to ask reviewers about."),
    "export": ("annotator.cli.export", "Write the people as they stand, in a format of the field."),
    "evaluate": ("annotator.cli.evaluate", "Measure keypoints against the truth."),
    "label": ("annotator.cli.label", "Review in Label Studio: start a server, send people, fetch decisions."),
    "students": ("annotator.cli.students", "List and add the networks that can propose."),
    "doctor": ("annotator.cli.doctor", "Say what this machine has, what it lacks, and how to mend it."),
    "demo": ("annotator.cli.demo", "Try it on a few photographs that come inside packages."),
}
INTERRUPTED = 130
STORAGE = 4


def load(name: str) -> Any:
    """Import a command's module and make the command of it."""
    module = importlib.import_module(COMMANDS[name][0])
    if hasattr(module, "app"):
        command: Any = typer.main.get_group(module.app)
        command.name = name
        return command
    app = typer.Typer(add_completion=False)
    app.command(name)(getattr(module, name))
    return typer.main.get_command(app)


class LazyGroup(TyperGroup):
    """Lists commands from the table; imports one only when it is the one asked for."""

    def __init__(self, **settings: Any) -> None:
        listed = {name: TyperCommand(name, help=help_) for name, (_, help_) in COMMANDS.items()}
        super().__init__(**{**settings, "commands": listed})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Swap the listing's entry for the command itself."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load(str(command.name)), rest


application = typer.Typer(cls=LazyGroup, pretty_exceptions_enable=False)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"annotator {__version__}")
        raise typer.Exit


@application.callback()
def annotator(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks. Works after the command, too.")] = False,
) -> None:
    """Complete and correct human-pose annotations by active learning."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 1 the input or the request cannot be used, 2 usage, 3 something is missing on this machine, 4 reading or
    writing failed, 130 interrupted. An error is one line on stderr; `--debug` adds the traceback.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    try:
        result = typer.main.get_command(application).main(arguments, prog_name="annotator", standalone_mode=False)
        _flush()
    except (KeyboardInterrupt, typer.Abort):
        return _stop("interrupted", INTERRUPTED, debug)
    except typer.TyperException as error:
        return _usage(error)
    except AnnotatorError as error:
        return _stop(str(error), error.exit_code, debug)
    except BrokenPipeError:  # `annotator ... | head` has seen enough
        return 1
    except OSError as error:
        return _stop(_os_error(error), STORAGE, debug)
    except Exception as error:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _stop(f"unexpected {what} (--debug shows where)", 1, debug)
    return result if type(result) is int else 0


def _flush() -> None:
    """Find out now, not while Python shuts down, that stdout cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _stop(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print("annotator:", " ".join(message.split()), file=sys.stderr)
    return code


def _os_error(error: OSError) -> str:
    hint = ": make room, then run the same command again" if error.errno == errno.ENOSPC else ""
    return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part) + hint


def _usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "annotator"
    message = " ".join(error.format_message().split())
    if type(error).__name__ == "NoArgsIsHelpError":  # rich has printed that help already
        message = "expected a command"
    print(f"{path}: {message} (see {path} --help)", file=sys.stderr)
    return error.exit_code
