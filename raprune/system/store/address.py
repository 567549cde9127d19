"""Addresses of object stores, and the folders that mirror them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from raprune.errors import InputError

CACHE = "RAPRUNE_STORE_CACHE"
"""Environment variable: the folder in which mirrors lie; the same path on all nodes of a cluster."""
MARK = "raprune-stores"
"""Every mirror is ``<cache>/raprune-stores/<kind>/<address, quoted>``."""
OWN, READ = "own", "read"
"""Kinds of mirrors: of a study that is run, which is published; of results that are only read."""
SCHEMES = {"s3": "Amazon S3 and what speaks its protocol", "gs": "Google Cloud Storage", "gcs": "the same",
           "abfs": "Azure", "abfss": "Azure", "hdfs": "Hadoop", "file": "a folder of this machine"}  # fmt: skip
GOOGLE = ("gs", "gcs")
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
SECRET = re.compile("key|secret|token|password|sas|sig", re.IGNORECASE)
TRIAL = re.compile(r"^(.*)/trials/([^/]+)$")
MAX_BYTES = 240
"""Longest name of a folder, with room for the suffix of a file written aside."""
STORED = "which would be stored with the results"
ENVIRONMENT = "give credentials through the environment (AWS_ACCESS_KEY_ID and the like; see docs/storage.md)"


@dataclass(frozen=True)
class Address:
    """Where a study's results are on a store; contains no credentials."""

    scheme: str
    path: str
    """What follows ``://``, as the person wrote it, without a slash at the end."""
    query: str = ""
    """Options, such as ``endpoint_override=localhost:9000``."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}" + (f"?{self.query}" if self.query else "")

    @property
    def uri(self) -> str:
        """As pyarrow takes it: characters that a URI cannot have are quoted."""
        quoted = quote(self.path, safe="/@:._-~")
        query = self.query
        if self.scheme in GOOGLE and "retry_limit_seconds" not in query:
            query = "&".join(filter(None, (query, "retry_limit_seconds=10")))  # Arrow's own patience is 15 minutes
        return f"{self.scheme}://{quoted}" + (f"?{query}" if query else "")

    def below(self, name: str) -> Address:
        return Address(self.scheme, f"{self.path}/{name}", self.query)

    def mirror(self, kind: str) -> Path:
        """The folder of this machine that mirrors it. Raises :class:`InputError` where the address is too long."""
        name = quote(str(self), safe="")
        if len(name) > MAX_BYTES:
            raise InputError(f"{self} is too long: use an address that takes at most {MAX_BYTES} bytes, quoted")
        return mirrors_folder() / kind / name


def is_address(text: object) -> bool:
    """Whether a text is an address, such as ``s3://bucket/study``."""
    return isinstance(text, str) and SCHEME.match(text) is not None


def parsed(text: str, what: str = "") -> Address:
    """The address that a person wrote; error messages begin with ``what`` it is for.

    Raises :class:`InputError` for an unknown scheme, and for credentials, which are not repeated.
    """
    before = f"{what}: " if what else ""
    match = SCHEME.match(text)
    assert match is not None
    scheme = match[1].lower()
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise InputError(f"{before}{scheme}:// is not an address to which results can be written; known are {known}")
    path, _, query = text[match.end() :].partition("?")
    host = path.partition("/")[0]
    if ":" in host.rpartition("@")[0] or (scheme == "s3" and "@" in host):
        raise InputError(f"{before}the address contains credentials, {STORED}: {ENVIRONMENT}")
    secret = next((key for key, _ in parse_qsl(query, keep_blank_values=True) if SECRET.search(key)), None)
    if secret is not None:
        raise InputError(f"{before}the address contains {secret}, {STORED}: {ENVIRONMENT}")
    path = ("/" if path.startswith("/") else "") + path.strip("/")
    parts = path.strip("/").split("/")
    if not path.strip("/"):
        raise InputError(f"{before}{scheme}:// must be followed by a bucket or folder, such as {scheme}://bucket/study")
    if any(part in ("", ".", "..") or part.startswith(".") for part in parts) or re.search("[\0-\x1f\x7f]", text):
        raise InputError(
            f"{before}{scheme}://{path!r}: no part of the path may be empty, begin with a dot or contain control "
            "characters"
        )
    return Address(scheme, path, query)


def place_for(text: str, kind: str, what: str = "") -> Path:
    """The mirror of an address; of a trial's, ``<study>/trials/<id>``, the trial's folder in the study's mirror.

    Nothing is created or read. Errors as :func:`parsed`.
    """
    address = parsed(text, what)
    trial = TRIAL.match(address.path)
    if trial is None:
        return address.mirror(kind)
    return Address(address.scheme, trial[1], address.query).mirror(kind) / "trials" / trial[2]


def root_of(place: Path) -> Path | None:
    """The mirror that ``place`` is, or is in; ``None`` for any other folder."""
    text = os.fspath(place)
    if MARK not in text:
        return None
    parts = Path(text).parts
    at = next((at for at in range(len(parts) - 2) if parts[at] == MARK and parts[at + 1] in (OWN, READ)), None)
    return None if at is None else Path(*parts[: at + 3])


def is_mirrored(place: Path) -> bool:
    """Whether ``place`` is in a mirror: other nodes have mirrors of their own."""
    return root_of(place) is not None


def address_of(root: Path) -> Address:
    """What a mirror mirrors. Raises :class:`InputError` for a folder that somebody else put there."""
    text = unquote(root.name)
    if not is_address(text):
        raise InputError(f"{root} is not the mirror of an address: delete it")
    return parsed(text)


def is_own(root: Path) -> bool:
    """Whether what is written in this mirror is published."""
    return root.parent.name == OWN


def shown(place: Path) -> str:
    """A folder as a person knows it: the address of what it mirrors, or its path."""
    root = root_of(place)
    if root is None:
        return str(place)
    address = address_of(root)
    inner = place.relative_to(root).as_posix()
    return str(address if inner == "." else address.below(inner))


def mirrors_folder() -> Path:
    """The folder of all mirrors on this machine, those of one kind in a folder each."""
    return _cache() / MARK


def _cache() -> Path:
    """The folder in which mirrors lie."""
    chosen = os.environ.get(CACHE) or os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".cache"
    except RuntimeError:
        raise InputError(f"the home folder is unknown: name a folder for mirrors of results with {CACHE}") from None
