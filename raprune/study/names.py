"""A key of a study whose value is the name of a plug-in, such as ``evaluators.engine``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from raprune.registry import Registry
from raprune.study.wording import closest


@dataclass(frozen=True)
class NameOf:
    """In ``Annotated[str, NameOf(ENGINES)]``: takes the names in ``registry``, whose folder it loads at first use."""

    registry: Registry
    declaring: str = ""
    """Takes only plug-ins that declare this to be true, such as ``quantises``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(self._known)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        del schema, handler
        return {"enum": self._names(), "type": "string"}

    def _known(self, value: Any) -> str:
        known = self._names()
        if value not in known:
            raise ValueError(f"must be one of {', '.join(known)}{closest(value, known)}")
        return str(value)

    def _names(self) -> list[str]:
        return [plugin.name for plugin in self.registry if not self.declaring or plugin.declared[self.declaring]]
