"""The commands on one trial's folder: ``bench`` and ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from raprune.cli.completion import complete_trial
from raprune.cli.root import app, examples
from raprune.cli.terminal import open_console
from raprune.system.paths import given_path
from raprune.system.store import given_results, reading, send

TrialDir = Annotated[
    Path,
    typer.Argument(
        metavar="TRIAL_DIR",
        help="results/STUDY/trials/ID",
        show_default=False,
        autocompletion=complete_trial,
        parser=given_results,
    ),
]

AllowImport = Annotated[
    Optional[list[str]],  # noqa: UP045  (typer reads the annotation)
    typer.Option("--allow-import", metavar="PATH", help="Code that the files may import (package.module:function)."),
]


@app.command(
    epilog=examples(
        ("raprune bench results/NAME/trials/ID", "on one thread"),
        ("raprune bench results/NAME/trials/ID --threads 4 --batch-size 8", "another setting"),
    )
)
def bench(
    folder: TrialDir,
    threads: Annotated[int, typer.Option("--threads", min=1, metavar="N", help="Processor threads.")] = 1,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N", help="Runs of each network.")] = 50,
    batch_sizes: Annotated[list[int], typer.Option("--batch-size", min=1, metavar="N", help="Batch size.")] = [1, 64],  # noqa: B006
    backends: Annotated[
        list[str],
        typer.Option(
            "--backend", metavar="NAME", help="What runs them; may be given several times, like --batch-size."
        ),
    ] = ["eager", "compiled", "onnxruntime"],  # noqa: B006
    allow_import: AllowImport = None,
) -> None:
    """Measure the speed of a trial's pruned network against its baseline."""
    from raprune.bench.command import bench_trial
    from raprune.bench.measuring import BenchSettings

    settings = BenchSettings(threads, runs, tuple(dict.fromkeys(batch_sizes)), tuple(dict.fromkeys(backends)))
    bench_trial(reading(folder), settings, open_console(), allow_import or ())
    send(folder / "speed.parquet")


@app.command(
    epilog=examples(
        ("raprune export results/NAME/trials/ID --format onnx --out small.onnx", "for ONNX Runtime"),
        ("raprune export results/NAME/trials/ID --format pt2 --out small.pt2", "for PyTorch without raprune"),
    )
)
def export(
    folder: TrialDir,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The file or folder to write.",
            show_default=False,
            parser=given_path,
        ),
    ],
    format_name: Annotated[
        Optional[str],  # noqa: UP045  (typer reads the annotation)
        typer.Option(
            "--format",
            metavar="NAME",
            help="pt2, onnx, safetensors, hugging_face. [default: the ending of FILE]",
            show_default=False,
        ),
    ] = None,
    quantised: Annotated[
        bool, typer.Option("--int8", help="With onnx: 8-bit weights and activations, with the score they reach.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    allow_import: AllowImport = None,
) -> None:
    """Write a trial's pruned network to a file that runs without raprune, and compare the two."""
    from raprune.export.command import export_and_tell

    export_and_tell(reading(folder), format_name, out, quantised, force, open_console(), allow_import or ())
