"""What came out: the tables of a study, their schemas, and how they are written and read.

Imports neither torch nor ray.
"""

from raprune.results.files import (
    read_json,
    read_json_list,
    read_text,
    set_aside,
    write_json,
    write_text,
)
from raprune.results.imported import allow_options
from raprune.results.intervals import interval
from raprune.results.page_copy import read_page_copy, write_page_copy
from raprune.results.read import Tables, place_of, read_manifest, read_study
from raprune.results.schemas import COST_COLUMNS, PARTS, SCHEMA_VERSION, SCHEMAS
from raprune.results.spent import candidates_in_all, short_count
from raprune.results.write import DOMINATED, PROVISIONAL, FolderLock, TrialStore
from raprune.system.writing import written

__all__ = [
    "COST_COLUMNS", "DOMINATED", "PARTS", "PROVISIONAL", "SCHEMAS", "SCHEMA_VERSION", "FolderLock", "Tables",
    "TrialStore", "allow_options",
    "candidates_in_all", "interval", "place_of", "read_json", "read_json_list", "read_manifest", "read_page_copy",
    "read_study", "read_text", "set_aside", "short_count", "write_json", "write_page_copy", "write_text", "written",
]  # fmt: skip
