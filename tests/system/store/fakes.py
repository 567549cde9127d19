"""Machines that share a store, which is a folder here: each with a mirror of its own."""

from __future__ import annotations

from pathlib import Path

from raprune.errors import StorageError
from raprune.system.store.address import OWN, READ, parsed
from raprune.system.store.mirror import Mirror


def machine(name: str, tmp_path: Path, url: str = "") -> Mirror:
    """The mirror on one machine of the store in ``tmp_path``/store, or of ``url``."""
    address = parsed(url or f"file://{tmp_path / 'store'}")
    root = tmp_path / name / "raprune-stores" / OWN / address.mirror(OWN).name
    root.mkdir(parents=True, exist_ok=True)
    return Mirror(root)


def write(mirror: Mirror, files: dict[str, str | None]) -> None:
    """Write files into a mirror as raprune does, whole; ``None`` deletes one."""
    for name, text in files.items():
        file = mirror.root / name
        if text is None:
            file.unlink()
            mirror.removed(name)
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}.1")
        aside.write_text(text)
        aside.replace(file)


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones left out."""
    found = {file.relative_to(folder): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {
        name.as_posix(): file.read_text()
        for name, file in found.items()
        if not any(part.startswith(".") for part in name.parts)
    }


class FailingAfter:
    """Lets so many changes reach the store, then fails as if the machine had died."""

    def __init__(self, mirror: Mirror, number: int) -> None:
        self.left = number
        self.changes: list[str] = []
        remote = mirror.remote
        put, delete = remote.put, remote.delete

        def counted_put(name: str, data: object) -> None:
            self._count(f"put {name}")
            put(name, data)  # type: ignore[arg-type]

        def counted_delete(name: str) -> None:
            self._count(f"delete {name}")
            delete(name)

        remote.put, remote.delete = counted_put, counted_delete  # type: ignore[method-assign]

    def _count(self, change: str) -> None:
        if self.left <= 0:
            raise StorageError("the machine died")
        self.left -= 1
        self.changes.append(change)


def read_mirror(tmp_path: Path) -> Path:
    """The folder in which the store is only read."""
    address = parsed(f"file://{tmp_path / 'store'}")
    return tmp_path / "reader" / "raprune-stores" / READ / address.mirror(READ).name


def content_sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): (file.stat().st_size, file.stat().st_mtime_ns) for file in files}
