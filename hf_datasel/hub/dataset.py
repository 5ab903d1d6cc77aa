"""A selection on the Hub, for others to load, check and apply."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_datasel.errors import PublishError, shown
from hf_datasel.hub import tree
from hf_datasel.hub.card import render
from hf_datasel.hub.client import check_repo_id, client
from hf_datasel.hub.landing import README, Job, Landing
from hf_datasel.hub.provenance import Source
from hf_datasel.rows.places import refuse_media_outside
from hf_datasel.selectors import Selection


logger = logging.getLogger(__name__)

RESERVED = ("data", "default", "selections", "assets")


@dataclass(frozen=True)
class Published:
    """Where a selection is.

    Args:
        repo_id: of the dataset repository, or the folder of a dry run.
        config_name: of the kept rows (or, of a light one, of the ids and scores).
        commit: that holds everything; None for a dry run.
        url: to look at; of the pull request where one was asked for.
        provenance: what `provenance.json` says.
        light: whether the rows' content was left out.
    """

    repo_id: str
    config_name: str
    commit: str | None
    url: str
    provenance: Mapping[str, Any]
    light: bool = False


def publish(
    selection: Selection,
    repo_id: str,
    config_name: str = "selection",
    *,
    sources: Sequence[Source] = (),
    license: str | None = None,
    title: str | None = None,
    about: str | None = None,
    limits: str | None = None,
    results: Mapping[str, Any] | None = None,
    private: bool = True,
    light: bool = False,
    plots: bool = True,
    create_pr: bool = False,
    overwrite: bool = False,
    media_roots: Sequence[str | Path] = (),
    dry_run: str | Path | None = None,
    token: str | None = None,
) -> Published:
    """Put a selection on the Hub, so that others can load it, check it, and apply it to their copy of the pool.

    The repository gets two configurations, the kept rows best first (`config_name`) and the whole pool with its scores
    (`<config_name>-scored`); ids, scores and ranks under `selections/<config_name>/` with `provenance.json`; plots under
    `assets/`; a section of the card. `load_dataset` then gives the rows, `load_selection` the selection.

    Everything is pushed to a branch of its own and read back there. Then one commit brings it to `main`: whoever loads
    the dataset sees it as it was, or whole. Failures that pass (409, 412, 429, 5xx, broken connections) are tried again;
    publishing the same selection again makes no second commit.

    Args:
        selection: bound to its pool.
        repo_id: NAMESPACE/NAME of a dataset repository; made if missing.
        config_name: letters, digits, `-` and `_`. One for each selection in the repository.
        sources: where the pool comes from.
        license: of the rows; by default that of the first source that states one.
        title, about, limits: heading and words of the card.
        results: figures of a run to show on the card, as `Run.report` writes them.
        private: visibility of a repository that is made. One that exists stays as it is.
        light: ids, scores and ranks only, without any content of the rows (for pools that may not be passed on).
        plots: draw the distribution of scores (needs matplotlib).
        create_pr: open a pull request, in one commit too, instead of landing on `main`. Needs the right to write.
        overwrite: replace a configuration of this name that has other columns, or files in its folder.
        media_roots: folders whose files are published where rows name images or videos by path, instead of holding them.
            None unless named: rows of somebody else's may name any file of yours.
        dry_run: folder to write all of it to instead; nothing is sent.
        token: of the Hub; by default the one you are logged in with. Never written anywhere.

    Raises:
        BadRow: a row names a file outside of `media_roots`.
        PublishError: no token, no right, a wrong name, other data in the way, or a failure that does not pass. `main`
            then holds what it held before; where that cannot be known, the message says so.

    Example:
        >>> import tempfile
        >>> from datasets import Dataset, load_dataset
        >>> from hf_datasel import TopCount, select
        >>> scored = Dataset.from_dict({"text": ["a", "b", "c"], "s": [0.1, 0.9, 0.5]})
        >>> folder = tempfile.mkdtemp()
        >>> done = publish(select(scored, TopCount("s", 2)), "me/data", "top-2", plots=False, dry_run=folder)
        >>> load_dataset(folder, "top-2", split="train")["text"][:]
        ['b', 'c']
    """
    if not isinstance(selection, Selection):
        raise PublishError(
            f"`selection` is a {type(selection).__name__}, expected a Selection: what `select(scored, rule)` returns, not its "
            f"`kept` rows."
        )
    check_repo_id(repo_id)
    well_formed = isinstance(config_name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", config_name)
    if not well_formed or config_name in RESERVED or config_name.endswith(tree.SCORED):
        raise PublishError(
            f"`config_name` is {shown(config_name)}, expected up to 100 letters, digits, '-' and '_', none of {RESERVED}, and no "
            f"{tree.SCORED!r} at the end: these are folders of the repository's own."
        )
    if dry_run is not None:
        _refuse_foreign(Path(dry_run))
    license = license or next((source.license for source in sources if source.license), None)
    if license is None:
        logger.warning("`license` is not stated: nobody will know whether they may use the rows.")
    words: dict[str, Any] = {"title": title, "about": about, "limits": limits, "results": results}
    words |= {"license": license, "sources": tuple(sources)}
    selection = tree.without_places(selection)
    found = tree.tables(selection, config_name, light)
    for table in found.values():
        refuse_media_outside(tree.only_embedded(table), media_roots, "media_roots")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(dry_run or scratch)
        said = tree.write_files(folder, selection, config_name, tuple(sources), plots)
        values = tree.card_values(selection, said, repo_id, config_name, light, plots, words)
        section = render("dataset_card.md.jinja", values)
        job = Job(repo_id, config_name, found, folder, section, words, said)
        if dry_run is not None:
            readme = folder / README
            readme.write_text(job.readme(tree.write_tables(folder, found), ""), encoding="utf-8")
            return Published(repo_id, config_name, None, str(readme), said, light)
        api = client(token)
        commit, request = Landing(job, api, overwrite).run(private, create_pr)
    url = request or f"{api.endpoint}/datasets/{repo_id}"
    logger.info("Published %s, config %s, at commit %s.", url, config_name, commit)
    return Published(repo_id, config_name, commit, url, said, light)


def _refuse_foreign(folder: Path) -> None:
    """A folder that an earlier dry run filled may be written again; one's own documents may not."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "selections").is_dir():
        raise PublishError(f"`dry_run` is {str(folder)!r}, which holds other files, expected a new or empty folder.")
