"""The result tables: their schemas, writing one trial's, reading a study's. Imports neither torch nor ray."""

from raprune.results.read import Tables, read_study
from raprune.results.schemas import COST_COLUMNS, SCHEMA_VERSION, SCHEMAS
from raprune.results.write import PROVISIONAL, FolderLock, TrialStore, finish, write_json, write_text

__all__ = [
    "COST_COLUMNS", "PROVISIONAL", "SCHEMAS", "SCHEMA_VERSION", "FolderLock", "Tables", "TrialStore", "finish",
    "read_study", "write_json", "write_text",
]  # fmt: skip
