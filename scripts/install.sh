#!/bin/sh
# Make .venv and install raprune into it. Say first how much will be installed; keep the torch that the interpreter has.
set -eu
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "raprune needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Name another: make PYTHON=python3.12" >&2
    exit 2
}

if "$python" -c 'import torch, torchvision' 2>/dev/null; then
    echo "keeping torch $("$python" -c 'import torch; print(torch.__version__)'); the rest takes about 1 GB on disk"
    site=--system-site-packages
else
    echo "installing torch and the rest: about 1.7 GB on disk with a CPU build of torch, 6.5 GB with CUDA (the default on Linux)"
    site=
fi

if [ ! -x .venv/bin/python ]; then
    "$python" -m venv $site .venv || {
        echo "cannot make a virtual environment: install the venv module (on Debian and Ubuntu: python3-venv)" >&2
        exit 2
    }
fi
.venv/bin/python -c 'import torch, torchvision' 2>/dev/null ||
    .venv/bin/python -m pip install --quiet --disable-pip-version-check ${TORCH:-torch torchvision}
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e "$1"
