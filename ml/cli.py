"""Command-line interface `python -m ml COMMAND`. Bad input exits with code 2 and one line on stderr."""

import argparse
import sys
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol

from ml.commands import (
    check_data,
    check_encoder,
    classify,
    convert,
    embed,
    evaluate,
    fit_pretrained,
    options,
    train,
)
from ml.formats.errors import InputError


class Command(Protocol):
    """A module of `ml.commands`, or an object like one. `run` returns the last line of output."""

    @property
    def HELP(self) -> str:  # noqa: N802 - a constant in the modules
        """One sentence for --help."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command to `parser`."""

    def run(self, args: argparse.Namespace) -> str:
        """Run the command and return the last line of output. Raises `InputError`."""


COMMANDS: dict[str, Command] = {
    "train-classifier": train.CLASSIFIER,
    "train-metric": train.METRIC,
    "fit-pretrained": fit_pretrained,
    "evaluate": evaluate,
    "embed": embed,
    "classify": classify,
    "convert": convert,
    "check-data": check_data,
    "check-encoder": check_encoder,
    "options": options,
}

BAD_INPUT = 2
INTERRUPTED = 130


class OneLineParser(argparse.ArgumentParser):
    """Reports a wrong command line in one line, without argparse's usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (try --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, or 2 for bad input."""
    args = build_parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of Pillow and torch would hide the error line
            last_line = COMMANDS[args.command].run(args)
        sys.stdout.write(f"{last_line}\n")
        return 0
    except InputError as error:
        message, code = str(error), BAD_INPUT
    except OSError as error:  # such as a full disk or a missing permission, where no command handles it
        message, code = f"{error.strerror or error}: {error.filename or 'no file named'}", BAD_INPUT
    except KeyboardInterrupt:
        message, code = "Stopped.", INTERRUPTED
    # Outside the except blocks: the error is gone, and with it the frames that kept a progress bar open on this line.
    return _report_error(message, code)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all commands. Building it imports neither torch nor onnxruntime."""
    parser = OneLineParser(prog="python -m ml", description="Encoders that turn photos of clothes into vectors.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.HELP, description=command.HELP))
    return parser


def _version() -> str:
    """Return the version of the project; "unknown" where `ml` was copied out of it."""
    try:
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    except (OSError, KeyError):
        return "unknown"
    return str(project["version"])


def _report_error(message: str, code: int) -> int:
    sys.stderr.write(f"python -m ml: {' '.join(message.split())}\n")
    return code
