"""Running an exported file where raprune cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

HIDDEN = ("raprune", "__editable__", "_raprune")

PROGRAM = """
import json, os, runpy, sys
sys.path += json.loads(sys.argv[1])
try:
    import raprune
except ImportError:
    pass
else:
    raise SystemExit("raprune can be imported")
import numpy as np
import torch, onnxruntime
torch.set_num_threads(1)
for request in json.loads(sys.argv[2]):
    images = np.load(request["images"])
    for file in request["files"]:
        if file.endswith(".onnx"):
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            found = [session.run(None, {session.get_inputs()[0].name: images[:n]})[0] for n in request["sizes"]]
        else:
            if os.path.isdir(file):
                network = runpy.run_path(file + "/modeling.py")["load"](file)
            else:
                network = torch.export.load(file).module()
            with torch.inference_mode():
                found = [network(torch.from_numpy(images[:n])).numpy() for n in request["sizes"]]
        np.savez(file + ".npz", *found)
assert "raprune" not in sys.modules
"""


def packages_without_raprune(folder: Path) -> list[str]:
    """Folders like those from which this process imports, as links, without raprune."""
    out = []
    for number, place in enumerate(dict.fromkeys(sys.path)):
        if Path(place).name not in ("site-packages", "dist-packages") or not Path(place).is_dir():
            continue
        mirror = folder / f"packages-{number}"
        mirror.mkdir()
        for entry in Path(place).iterdir():
            if not entry.name.startswith(HIDDEN):
                (mirror / entry.name).symlink_to(entry)
        out.append(str(mirror))
    return out


def run_isolated(folder: Path, files: dict[Path, np.ndarray], sizes: tuple[int, ...] = (1, 5)) -> None:
    """Have a fresh process load every file and write what it gives for the first images, as ``FILE.npz``."""
    requests = []
    for number, (file, images) in enumerate(files.items()):
        np.save(folder / f"{number}.npy", images)
        requests.append({"images": str(folder / f"{number}.npy"), "files": [str(file)], "sizes": sizes})
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, json.dumps(packages_without_raprune(folder))]
    done = subprocess.run([*command, json.dumps(requests)], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr


def given(file: Path) -> list[np.ndarray]:
    """What a file gave in the fresh process, a batch size each."""
    with np.load(f"{file}.npz") as found:
        return [found[name] for name in found.files]
