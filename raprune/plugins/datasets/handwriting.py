"""scikit-learn's handwritten digits, read from the file that comes with it.

Importing scikit-learn takes a second in every process that loads digits, and each evaluator is one.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

FILE = Path("datasets", "data", "digits.csv.gz")
"""In scikit-learn's folder: 64 grey levels and the digit in each line."""


def handwritten_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 8, 8) with grey levels from 0 to 16, float64, and which digit each is, int64."""
    found = find_spec("sklearn")
    for folder in [] if found is None else found.submodule_search_locations or []:
        file = Path(folder) / FILE
        if file.is_file():
            table = np.loadtxt(file, delimiter=",")
            return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits  # a version that keeps them elsewhere

    digits = load_digits()
    return digits.images, digits.target
