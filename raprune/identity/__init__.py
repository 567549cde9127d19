"""What something is by its content: networks, files, and a user's own code and values."""

from raprune.identity.files import files_in, of_file
from raprune.identity.networks import alike, extra_state_of, of_structure, of_tensors, of_training, probe
from raprune.identity.sources import ENCODED, Sources, comparable, differing, made_here
from raprune.identity.values import Fingerprint, of_value

__all__ = [
    "ENCODED", "Fingerprint", "Sources", "alike", "comparable", "differing", "extra_state_of", "files_in", "made_here",
    "of_file", "of_structure", "of_tensors", "of_training", "of_value", "probe",
]  # fmt: skip
