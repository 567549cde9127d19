"""ONNX Runtime's sessions; imports no torch, so that a process that measures memory holds none."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_session(file: Path, provider: str, threads: int) -> Any:
    """ONNX Runtime with the model in ``file``, on so many threads; it reports errors alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=[provider])
