"""A published selection, from the Hub or a folder, to apply to one's own copy of the pool."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi

from hf_datasel.errors import PublishError, shown
from hf_datasel.hub.client import check_repo_id, retried
from hf_datasel.selectors import Selection


def load_selection(
    repo_id: str, config_name: str | None = None, revision: str | None = None, token: str | None = None
) -> Selection:
    """Which rows somebody kept: ids, scores and how it was done. The rows themselves are not loaded.

    `load_selection("user/repo").apply(pool)` binds it to your copy of the pool, and says which rows that copy lacks.

    Args:
        repo_id: NAMESPACE/NAME of a dataset on the Hub, or a folder that `publish(dry_run=…)` or `Selection.save` wrote.
        config_name: which selection, where the repository has several.
        revision: commit, branch or tag; pin a commit to be sure of what you get.
        token: of the Hub, for private repositories; by default the one you are logged in with.

    Raises:
        PublishError: no such repository or selection, or several to choose from.
        DataselError: the files do not belong together.

    Example:
        >>> import tempfile
        >>> from datasets import Dataset
        >>> from hf_datasel import TopCount, publish, select
        >>> pool = Dataset.from_dict({"text": ["a", "b", "c"], "s": [0.1, 0.9, 0.5]})
        >>> folder = tempfile.mkdtemp()
        >>> done = publish(select(pool, TopCount("s", 2)), "me/data", plots=False, dry_run=folder)
        >>> load_selection(folder).apply(pool.shuffle(seed=1)).kept["text"][:]
        ['b', 'c']
    """
    if not isinstance(repo_id, str | Path):
        raise PublishError(f"`repo_id` is {shown(repo_id)}, expected NAMESPACE/NAME on the Hub, or a folder.")
    repo_id = str(repo_id)
    if os.path.isfile(os.path.join(repo_id, "selection.json")):
        return Selection.load(repo_id)
    if os.path.isdir(repo_id):
        names = [path.parent.name for path in Path(repo_id).glob("selections/*/selection.json")]
        return Selection.load(Path(repo_id) / "selections" / _chosen(names, config_name, repo_id))
    if Path(repo_id).is_absolute() or repo_id.startswith("."):
        raise PublishError(
            f"`repo_id` is {shown(repo_id)}, expected a folder that is there, or NAMESPACE/NAME on the Hub."
        )
    check_repo_id(repo_id)
    api = HfApi(token=token, library_name="hf_datasel")
    files = retried(
        partial(api.list_repo_files, repo_id, repo_type="dataset", revision=revision), f"Listing {repo_id}"
    )
    names = [
        path.split("/")[1] for path in files if path.startswith("selections/") and path.endswith("selection.json")
    ]
    name = _chosen(names, config_name, repo_id)
    get = partial(
        api.snapshot_download, repo_id, repo_type="dataset", revision=revision, allow_patterns=f"selections/{name}/*"
    )
    return Selection.load(Path(retried(get, f"Downloading {name}")) / "selections" / name)


def _chosen(names: list[str], wanted: str | None, repo_id: str) -> str:
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return str(wanted)
    raise PublishError(
        f"`config_name` is {shown(wanted)} and {repo_id!r} has the selections {sorted(names)}, expected one of them. "
        f"{'Name one.' if names else 'Ask its owner to publish with hf_datasel: it holds no selection.'}"
    )
