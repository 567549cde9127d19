"""A table as LaTeX that compiles: with booktabs' rules if that is loaded, else with plain lines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

HEAD = r"""% \usepackage{booktabs} gives better rules. Other alphabets than Latin need LuaLaTeX or XeLaTeX.
\providecommand{\toprule}{\hline}\providecommand{\midrule}{\hline}\providecommand{\bottomrule}{\hline}
"""
_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "−": "$-$", "…": r"\ldots{}", "\n": " ", "\t": " ", "`": r"\textasciigrave{}",
    "[": "{[}", "*": "{*}", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\rightarrow$", "≈": r"$\approx$",
}  # fmt: skip
"""At the head of a row, ``[`` and ``*`` would belong to the end of the row before."""
_SPECIAL = re.compile("[" + re.escape("".join(_ESCAPES)) + "]")
_LIGATURE = re.compile(r"([-',])(?=\1)")
"""Two of these become one other sign."""


def escaped(words: str) -> str:
    """Text that LaTeX prints as it is."""
    return _LIGATURE.sub(r"\1{}", _SPECIAL.sub(lambda found: _ESCAPES[found[0]], words))


def tabular(frame: pd.DataFrame) -> str:
    """One row of the table a line; numbers in four digits, to the right; unknown ones are empty."""
    sides = "".join("r" if pd.api.types.is_numeric_dtype(frame[column]) else "l" for column in frame)
    rows = "\n".join(_line(map(_cell, row)) for row in frame.itertuples(index=False, name=None))
    head = _line(escaped(str(column).replace("_", " ")) for column in frame)
    return (
        f"{HEAD}\\begin{{tabular}}{{{sides}}}\n\\toprule\n{head}\n\\midrule\n{rows}\n\\bottomrule\n\\end{{tabular}}\n"
    )


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else escaped(f"{value:.4g}".replace("-", "−"))
    return "" if value is None or value is pd.NA else escaped(str(value))
