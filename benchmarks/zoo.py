"""The zoo: every classification network of torchvision and 150 convolutional ones of timm, each traced and proved.

    python benchmarks/zoo.py                          # all of torchvision, 150 of timm: hours on two cores
    python benchmarks/zoo.py --sample 40 --seed 1     # 40 of both, drawn by a seed
    python benchmarks/zoo.py --family timm --out zoo.jsonl --table docs/networks.md

Random weights, small images, nothing is downloaded. Each network runs in a process of its own with limits of time and
memory. It is traced, proved (the smaller network equals the masked one), and compared with the engine (its baseline and
one random cut of every layer). ``wrong`` means that they differ; ``refused``, that raprune says it cannot prune the
network. If the network's groups are coupled, Torch-Pruning gets the same filters to remove, and is compared with the
same masked network.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

FAMILIES = ("torchvision", "timm")
NUM_TIMM = 150
SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 299, 384)
"""Images tried, the smallest that a network takes."""
MEMORY_GIB = 6
"""What a network's process may take: larger networks are not drawn."""
SECONDS = 600
PROVED, REFUSED, WRONG, NOT_RUN = "proved", "refused", "wrong", "not run"


def names(family: str, seed: int) -> list[str]:
    """Networks of a family; of timm's, those with convolutions in all stages, drawn by ``seed``."""
    if family == "torchvision":
        import torchvision

        return [f"torchvision {name}" for name in torchvision.models.list_models(module=torchvision.models)]
    import timm

    every = [name for name in timm.list_models() if _is_convolutional(name)]
    return [f"timm {name}" for name in sorted(random.Random(seed).sample(every, NUM_TIMM))]


CONVOLUTIONAL = (
    "byobnet", "convmixer", "convnext", "cspnet", "densenet", "dla", "dpn", "efficientnet", "fasternet", "ghostnet",
    "hardcorenas", "hgnet", "hrnet", "inception_next", "inception_resnet_v2", "inception_v3", "inception_v4",
    "mambaout", "mobilenetv3", "nasnet", "nfnet", "pnasnet", "rdnet", "regnet", "repghost", "repvit", "res2net",
    "resnest", "resnet", "resnetv2", "rexnet", "selecsls", "senet", "sknet", "starnet", "tresnet", "vgg", "vovnet",
    "xception", "xception_aligned",
)  # fmt: skip
"""Files of timm's whose networks are made of convolutions."""


def _is_convolutional(name: str) -> bool:
    import timm

    file = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    return file in CONVOLUTIONAL and not name.startswith("test_")


def make(name: str) -> Any:
    """An untrained network."""
    import torch

    torch.manual_seed(0)
    family, _, own = name.partition(" ")
    if family == "timm":
        import timm

        return timm.create_model(own, pretrained=False).eval()
    from torchvision.models import get_model

    options = {"init_weights": False, "aux_logits": False} if own in ("googlenet", "inception_v3") else {}
    return get_model(own, weights=None, **options).eval()


def run_one(name: str, peer: bool = True, device: str = "cpu") -> dict[str, Any]:
    """What came of one network, in this process, on ``device``."""
    import torch

    from raprune.errors import InputError
    from raprune.network.graph import trace
    from raprune.preflight.equivalence import prove

    start = time.perf_counter()
    row: dict[str, Any] = {"network": name}
    network = make(name).to(device)
    shape = smallest(network)
    row |= {"parameters": sum(p.numel() for p in network.parameters()), "size": shape[-1]}
    row["convolutions"] = sum(isinstance(m, torch.nn.Conv2d) for m in network.modules())
    try:
        traced = trace(network, shape)
        row["prunable"], row["convolutions"] = traced.graph.prunable()
        row["reasons"] = {reason: len(convs) for reason, convs in traced.graph.reasons().items()}
        if not traced.graph.groups:
            raise InputError(traced.graph.nothing().replace("\n ", ";"))
        row["traced_s"] = round(time.perf_counter() - start, 1)
        prove(traced, shape)
    except InputError as error:
        wrong = "not the masked one" in str(error)
        return {**row, "result": REFUSED, "why": str(error), "caught": wrong, "seconds": time.perf_counter() - start}
    problem = disagreement(traced, shape)
    row |= {"result": WRONG if problem else PROVED, "why": problem or "", "seconds": time.perf_counter() - start}
    row["gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if peer:
        row["peer"] = peer_result(name, shape)
    return row


def smallest(network: Any) -> tuple[int, int, int]:
    """The shape of the smallest images that a network takes."""
    import torch

    fixed = getattr(network, "default_cfg", {}).get("fixed_input_size") and network.default_cfg["input_size"][-1]
    for size in (fixed,) if fixed else SIZES:
        try:
            with torch.no_grad():
                network(torch.randn(2, 3, size, size, device=next(network.parameters()).device))
        except (RuntimeError, AssertionError, ValueError):
            continue
        return (3, size, size)
    raise ValueError("it takes no images of these sizes")


def disagreement(traced: Any, shape: tuple[int, ...]) -> str | None:
    """What raprune's engine and the plain network differ in, whole and with every layer cut."""
    import torch

    from raprune.engine.agreement import check_agreement
    from raprune.errors import InputError

    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    try:
        check_agreement(traced, images)
    except InputError as error:
        return str(error)
    return None


def peer_result(name: str, shape: tuple[int, ...]) -> str:
    """What Torch-Pruning comes to with the same filters to remove: proved, another function, or its error."""
    import torch

    from benchmarks.surgery_gauntlet import PASSED, _prune_with_peer
    from raprune.network.graph import trace
    from raprune.network.measure import count_params
    from raprune.network.surgery import shrink
    from raprune.preflight.equivalence import random_cuts

    traced = trace(make(name).double(), shape, residual="coupled")
    plan = random_cuts(traced.graph, torch.Generator().manual_seed(0))
    images = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    network = make(name).double()
    whole = count_params(network)
    try:
        with torch.no_grad():
            expected = shrink(traced, plan)(images)
            _prune_with_peer(network, traced, plan, images)
            found = network(images)
    except Exception as error:  # whatever a peer raises is its result
        return f"fails: {type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:110]
    if found.shape != expected.shape:
        return "another shape"
    worst = float((found - expected).abs().max() / expected.abs().max())
    if not worst <= 1e-7:
        return f"another function: differs by {worst:.1g} of the largest logit"
    return PASSED if count_params(network) < whole else "removed nothing"


def in_its_own_process(name: str, peer: bool, seconds: int = SECONDS, device: str = "cpu") -> dict[str, Any]:
    """:func:`run_one` with limits of time and memory."""
    command = [sys.executable, __file__, "--one", name, "--device", device, *([] if peer else ["--no-peer"])]
    start = time.perf_counter()

    def limit() -> None:
        if device == "cpu":  # CUDA reserves far more than it uses
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_GIB << 30, MEMORY_GIB << 30))

    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, preexec_fn=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"network": name, "result": NOT_RUN, "why": f"took over {seconds} s", "seconds": float(seconds)}
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        found: dict[str, Any] = json.loads(lines[-1])
        return found
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return {"network": name, "result": NOT_RUN, "why": last[:300], "seconds": time.perf_counter() - start}


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="so many networks, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", choices=FAMILIES)
    parser.add_argument("--out", type=Path, default=Path("zoo.jsonl"), help="one line a network; those in it are kept")
    parser.add_argument("--table", action="store_true", help="print the table of --out and stop")
    parser.add_argument("--no-peer", action="store_true", help="without Torch-Pruning")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="limit of one network")
    parser.add_argument("--device", default="cpu", help="where networks are traced, proved and compared, such as cuda")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(run_one(given.one, not given.no_peer, given.device)))
        return
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    if not given.table:
        chosen = [name for family in FAMILIES if given.family in (None, family) for name in names(family, given.seed)]
        random.Random(given.seed).shuffle(chosen)  # what a run that is cut short has done is a sample as well
        chosen = chosen[: given.sample]
        done = {row["network"] for row in rows}
        with ThreadPoolExecutor(given.jobs) as pool:
            waiting = [
                pool.submit(in_its_own_process, name, not given.no_peer, given.seconds, given.device)
                for name in chosen
                if name not in done
            ]
            for future in as_completed(waiting):
                rows.append(future.result())
                with given.out.open("a") as file:
                    print(json.dumps(rows[-1]), file=file)
                print(rows[-1]["network"], rows[-1]["result"], rows[-1]["why"][:160], flush=True)
    from benchmarks.zoo_table import table

    print(table(rows))


if __name__ == "__main__":
    main()
