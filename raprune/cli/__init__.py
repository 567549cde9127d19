"""The command line, one file per group of commands. Nothing heavy is imported before it is needed: ``--help`` starts
in a blink. The order of the imports is the order of the commands in the help."""

from raprune.cli import studies, trials, listing, reports, schema  # noqa: F401, I001
from raprune.cli.root import main

__all__ = ["main"]
