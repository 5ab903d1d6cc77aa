"""The report page on the Hub, as a static Space that names its dataset."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import yaml
from huggingface_hub import CommitOperationAdd

from hf_datasel.errors import PublishError
from hf_datasel.hub.client import check_repo_id, client, retried
from hf_datasel.hub.dataset import Published
from hf_datasel.hub.landing import README
from hf_datasel.hub.tree import TAGS


INDEX = "index.html"
LONGEST_TITLE = 60


def publish_page(
    page: str | Path,
    repo_id: str,
    shows: Published,
    *,
    title: str = "Selection report",
    private: bool = True,
    dry_run: str | Path | None = None,
    token: str | None = None,
) -> str | None:
    """Put a report page on the Hub as a static Space, in one commit.

    The page holds the rows it shows: whoever may see the Space may read them.

    Args:
        page: what `write_report` or `datasel report` wrote.
        repo_id: NAMESPACE/NAME of a Space; made if missing.
        shows: the published selection; its repository and commit go into the Space's README.
        title: of the Space.
        private: visibility of a Space that is made. One that exists stays as it is.
        dry_run: folder to write the Space's files to instead; nothing is sent.
        token: of the Hub; by default the one you are logged in with.

    Returns:
        The commit; None for a dry run.

    Raises:
        PublishError: there is no such page, the selection was published without its rows' content, no token, no right, or
            a failure that does not pass.
    """
    check_repo_id(repo_id)
    page = Path(page)
    if not page.is_file():
        raise PublishError(f"`page` {str(page)!r} is no file, expected the page that `datasel report` writes.")
    if shows.light:
        raise PublishError(
            "`shows` was published light, without the rows' content, and the page holds it. Publish one of both only."
        )
    readme = _readme(shows, title)
    if dry_run is not None:
        Path(dry_run).mkdir(parents=True, exist_ok=True)
        (Path(dry_run) / README).write_text(readme, encoding="utf-8")
        (Path(dry_run) / INDEX).write_bytes(page.read_bytes())
        return None
    api = client(token)
    make = partial(api.create_repo, repo_id, repo_type="space", space_sdk="static", private=private, exist_ok=True)
    retried(make, f"Creating the Space {repo_id}")

    def commit() -> str:
        operations = [CommitOperationAdd(INDEX, page), CommitOperationAdd(README, readme.encode())]
        message = f"Report on {shows.repo_id}, {shows.config_name}"
        return str(api.create_commit(repo_id, operations, repo_type="space", commit_message=message).oid)

    return retried(commit, f"Uploading to the Space {repo_id}")


def _readme(shows: Published, title: str) -> str:
    metadata = {
        "title": title[:LONGEST_TITLE], "sdk": "static", "app_file": INDEX, "pinned": False, "datasets": [shows.repo_id],
        "tags": list(TAGS),
    }  # fmt: skip
    at = f" at commit `{shows.commit}`" if shows.commit else ""
    return (
        f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---\n\n"
        f"The report page of the selection `{shows.config_name}` of "
        f"[{shows.repo_id}](https://huggingface.co/datasets/{shows.repo_id}){at}. One file, which loads nothing from anywhere.\n"
    )
