"""What was removed, and must not come back: hashes only, so that a removed id is nowhere to be found."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ..files.atomic import atomic_write


class Tombstones:
    """The file ``work/removed.txt``: one SHA-256 a line, of "photo:<id>" or "person:<label>"."""

    def __init__(self, work: Path) -> None:
        self.path = work / "removed.txt"
        self._hashes = set(self.path.read_text(encoding="ascii").split()) if self.path.is_file() else set()

    def has_photo(self, photo_id: str) -> bool:
        """Whether this photo was removed."""
        return bool(self._hashes) and _hash("photo", photo_id) in self._hashes

    def has_person(self, label: str) -> bool:
        """Whether this person was removed by the given label."""
        return bool(label) and bool(self._hashes) and _hash("person", label) in self._hashes

    def add(self, photo_ids: Iterable[str], labels: Iterable[str] = ()) -> None:
        """Remembers photos and people as removed."""
        self._hashes |= {_hash("photo", one) for one in photo_ids} | {_hash("person", one) for one in labels if one}
        with atomic_write(self.path) as partial:
            partial.write_text("".join(f"{line}\n" for line in sorted(self._hashes)), encoding="ascii")


def _hash(kind: str, name: str) -> str:
    return hashlib.sha256(f"{kind}:{name}".encode("utf-8", "surrogatepass")).hexdigest()
