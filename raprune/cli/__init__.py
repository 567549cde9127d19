"""What a person types: the commands, one file for those that belong together.

Nothing heavy is imported before it is needed: ``--help`` starts in a blink. The order of imports is the order of the
commands in the help.
"""

from raprune.cli import (  # isort: skip
    starting, studies, watching, checking, trials, folders, listing, reports, schema,  # noqa: F401
)  # fmt: skip
from raprune.cli.root import main

__all__ = ["main"]
