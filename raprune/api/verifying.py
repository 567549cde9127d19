"""Verify the result of ``prune``, whose network and data only the program has."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from raprune.api.running import same_threads
from raprune.console.verification import verification_lines
from raprune.engine.arithmetic import same_arithmetic
from raprune.engine.inputs import Given, Inputs
from raprune.errors import InputError
from raprune.launch.verifying import Part, Verified, verify
from raprune.preflight.without_import import load_allowed
from raprune.results import place_of, read_manifest


@dataclass(frozen=True, eq=False, repr=False)
class Verification:
    """What was found; ``print`` shows what ``raprune verify`` shows."""

    confirmed: bool
    """Whether nothing is refuted."""
    text: str
    found: Verified = field(repr=False)
    """Each difference, and what was checked."""

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


def verified(trial_dir: Path, given: Given, share: float, seed: int) -> Verification:
    """Verify one trial on a program's own network and data; as :meth:`raprune.api.Pruned.verify`."""
    if not 0 <= share <= 1:
        raise InputError(f"share: must be from 0 to 1; got {share}")
    out, trial_id = place_of(trial_dir)
    manifest = read_manifest(out)
    with same_threads(), same_arithmetic(), Inputs() as inputs:
        inputs.give(given)
        plan = load_allowed(out / "study.yaml", (), inputs)
        found = verify(plan, out, manifest, Part([trial_id or trial_dir.name], share, seed), inputs=inputs)
    if not found.num_trials:
        raise InputError("\n".join([f"{trial_dir}: nothing can be verified", *found.unchecked]))
    return Verification(not found.is_refuted, "\n".join(verification_lines(found, manifest)), found)
