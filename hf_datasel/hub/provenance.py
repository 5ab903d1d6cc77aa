"""What a published selection says about itself, so that anybody can check it and apply it to their copy of the pool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_datasel.selectors import Selection


FILE = "provenance.json"
PLACES = ("model", "adapter", "path", "dataset", "base_model_name_or_path")  # what may name a folder of one's own


@dataclass(frozen=True)
class Source:
    """Where the rows of a pool come from.

    Args:
        dataset: Hub id, or a name people know it by.
        revision: commit of a Hub dataset.
        config: its configuration.
        split: its split.
        license: of the rows, as the Hub spells licences (`mit`, `cc-by-4.0`).

    Example:
        >>> Source("openai/gsm8k", revision="e53f048", license="mit").title
        'openai/gsm8k@e53f048'
    """

    dataset: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None
    license: str | None = None

    @property
    def title(self) -> str:
        """Id and revision in one."""
        return f"{self.dataset}@{self.revision}" if self.revision else self.dataset


def kept_ids_digest(ids: list[str]) -> str:
    """SHA-256 of the ids, best first, a line each: `sha256sum` of the list gives the same.

    Example:
        >>> kept_ids_digest(["b", "a"])[:12]
        'aea8a04c2f29'
    """
    return hashlib.sha256("".join(f"{row_id}\n" for row_id in ids).encode()).hexdigest()


def shareable(value: Any, key: str = "") -> Any:
    """A spec without places on somebody's machine: a file or folder by its name alone. Digests say what it held.

    Example:
        >>> shareable({"model": "/home/me/proxy", "rows": [1, "Qwen/Qwen3-0.6B"], "pattern": "/think"})
        {'model': 'proxy', 'rows': [1, 'Qwen/Qwen3-0.6B'], 'pattern': '/think'}
    """
    if isinstance(value, Mapping):
        return {name: shareable(part, str(name)) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [shareable(part, key) for part in value]
    if not isinstance(value, str) or "/" not in value:
        return value
    local = value.removeprefix("file://")
    is_place = key in PLACES and (Path(local).is_absolute() or local.startswith((".", "~")))
    return Path(local).name if is_place or value != local or _exists(local) else value


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a path, or with a null in it
        return False


def provenance(selection: Selection, folder: Path, sources: tuple[Source, ...]) -> dict[str, Any]:
    """Everything `selection.json` says, and where the pool is from.

    Args:
        selection: to be published.
        folder: where `selection` was saved.
        sources: of the pool.
    """
    manifest: dict[str, Any] = json.loads((folder / "selection.json").read_text(encoding="utf-8"))
    return {
        **manifest,
        "kept_ids_sha256": kept_ids_digest(selection.ids),
        "sources": [shareable(vars(source)) for source in sources],
    }


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Indented, in the order given."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
