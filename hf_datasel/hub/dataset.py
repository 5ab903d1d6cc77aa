"""A selection on the Hub: prepared on a branch, checked there, and landed in one commit."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, DatasetCard, HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

from hf_datasel.errors import PublishError
from hf_datasel.hub import tree
from hf_datasel.hub.card import render
from hf_datasel.hub.client import PASSING, check_repo_id, client, explained, retried, status_of
from hf_datasel.hub.provenance import FILE, Source, kept_ids_digest
from hf_datasel.rows.identity import ROW_ID
from hf_datasel.selectors import Selection


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

DATASET = "dataset"
MAIN = "main"
README = "README.md"
ROUNDS = 5  # attempts to land on a branch that others move


@dataclass(frozen=True)
class Published:
    """Where a selection is.

    Args:
        repo_id: of the dataset repository, or the folder of a dry run.
        config_name: of the kept rows (or, of a light one, of the ids and scores).
        commit: that holds everything; None for a dry run.
        url: to look at.
        provenance: what `provenance.json` says.
    """

    repo_id: str
    config_name: str
    commit: str | None
    url: str
    provenance: Mapping[str, Any]


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
        create_pr: open a pull request instead of landing on `main`; merging it is somebody else's choice.
        overwrite: replace a configuration of this name that has other columns.
        dry_run: folder to write all of it to instead; nothing is sent.
        token: of the Hub; by default the one you are logged in with. Never written anywhere.

    Raises:
        PublishError: no token, no right, a wrong name, other columns in the way, or a failure that does not pass. What
            `main` holds is then what it held before.

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
    check_repo_id(repo_id)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", config_name) or config_name in ("data", "default"):
        raise PublishError(
            f"`config_name` is {config_name!r}, expected letters, digits, '-' and '_', and neither 'data' nor 'default'."
        )
    license = license or next((source.license for source in sources if source.license), None)
    if license is None:
        logger.warning("`license` is not stated: nobody will know whether they may use the rows.")
    words: dict[str, Any] = {"title": title, "about": about, "limits": limits, "results": results}
    words |= {"license": license, "sources": tuple(sources)}
    selection = tree.without_places(selection)
    found = tree.tables(selection, config_name, light)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(dry_run or scratch)
        said = tree.write_files(folder, selection, config_name, tuple(sources), plots)
        values = tree.card_values(selection, said, repo_id, config_name, light, plots, words)
        section = render("dataset_card.md.jinja", values)
        job = _Job(repo_id, config_name, found, folder, section, words, said)
        if dry_run is not None:
            return job.write()
        api = client(token)
        return _Push(job, api, overwrite).run(private, create_pr)


@dataclass(frozen=True)
class _Job:
    """What is to be published, whole."""

    repo_id: str
    config_name: str
    tables: Mapping[str, Dataset]
    folder: Path
    section: str
    words: Mapping[str, Any]
    said: Mapping[str, Any]

    def readme(self, metadata: Mapping[str, Any], body: str) -> str:
        metadata = tree.with_metadata(metadata, self.config_name, self.words)
        return tree.readme_text(metadata, tree.with_section(body, self.config_name, self.section))

    def write(self) -> Published:
        """Into its folder, and nowhere else."""
        metadata = tree.write_tables(self.folder, self.tables)
        (self.folder / README).write_text(self.readme(metadata, ""), encoding="utf-8")
        return Published(self.repo_id, self.config_name, None, str(self.folder / README), self.said)

    def small_files(self) -> dict[str, bytes]:
        """Everything but the rows and the README, by place in the repository."""
        places = [self.folder / "selections" / self.config_name, self.folder / "assets" / self.config_name]
        files = [path for place in places if place.is_dir() for path in sorted(place.iterdir())]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}


@dataclass(frozen=True)
class _Push:
    """One job on its way to the Hub."""

    job: _Job
    api: HfApi
    overwrite: bool

    @property
    def branch(self) -> str:
        return f"datasel-{self.job.config_name}"

    @property
    def _own_configs(self) -> tuple[str, str]:
        return (self.job.config_name, f"{self.job.config_name}-scored")

    @property
    def _own_folders(self) -> tuple[str, ...]:
        return tuple(f"{name}/" for name in self._own_configs)

    def run(self, private: bool, create_pr: bool) -> Published:
        make = partial(self.api.create_repo, self.job.repo_id, repo_type=DATASET, private=private, exist_ok=True)
        retried(make, f"Creating {self.job.repo_id}")
        commit = self._open_pull_request() if create_pr else self._land()
        url = f"{self.api.endpoint}/datasets/{self.job.repo_id}"
        logger.info("Published %s, config %s, at commit %s.", url, self.job.config_name, commit)
        return Published(self.job.repo_id, self.job.config_name, commit, url, self.job.said)

    def _land(self) -> str:
        """Prepare on a branch, check, land on main; from the start again when main has moved."""
        for _ in range(ROUNDS):
            base = self._head(MAIN)
            self._refuse_other_columns(base)
            try:
                self._stage(base)
                readme = self._readme(self.branch)
                self._verify(self.branch)
                commit = self._commit(base, self._operations(base, readme), readme)
                if commit is not None:
                    return commit
                logger.info("Somebody else's commit came first. Once more, on top of it.")
            finally:
                self._drop_branch()
        raise PublishError(
            f"`{self.job.repo_id}` was changed by others {ROUNDS} times while this was under way, expected a quiet moment. "
            f"Run the same again: what is uploaded is not uploaded twice."
        )

    def _stage(self, base: str) -> None:
        self._drop_branch()
        make = partial(
            self.api.create_branch,
            self.job.repo_id,
            repo_type=DATASET,
            branch=self.branch,
            revision=base,
            exist_ok=True,
        )
        retried(make, "Making a branch")
        retried(self._clear_branch, "Clearing what is replaced")
        self._push_tables(self.branch)

    def _clear_branch(self) -> None:
        """Forget an earlier publication of this name: `push_to_hub` would keep its columns, and add up its sizes."""
        text = self._text(README, self.branch)
        stale = [path for path in self._files(self.branch) if path.startswith(self._own_folders)]
        if text is None or not stale:
            return
        card = DatasetCard(text, ignore_metadata_errors=True)
        readme = tree.readme_text(tree.without_configs(card.data.to_dict(), self._own_configs), card.text)
        self.api.create_commit(
            self.job.repo_id,
            [*(CommitOperationDelete(path) for path in stale), CommitOperationAdd(README, readme.encode())],
            repo_type=DATASET, revision=self.branch, commit_message="Clear what is replaced",
        )  # fmt: skip

    def _push_tables(self, revision: str) -> None:
        for name, table in self.job.tables.items():
            push = partial(
                table.push_to_hub, self.job.repo_id, config_name=name, split=tree.SPLIT, revision=revision,
                token=self.api.token, commit_message=f"Add {name}",
            )  # fmt: skip
            retried(push, f"Uploading {name}")

    def _operations(self, base: str, readme: bytes) -> list[Any]:
        """What makes main hold what the branch holds, and the small files with it."""
        before, after = self._files(base), self._files(self.branch)
        small = {**self.job.small_files(), README: readme}
        own = self._own_folders
        copied = [path for path, oid in after.items() if path.startswith(own) and before.get(path) != oid]
        gone = [path for path in before if path.startswith(own) and path not in after]
        return [
            *(CommitOperationCopy(path, path, src_revision=self.branch) for path in copied),
            *(CommitOperationDelete(path) for path in gone),
            *(CommitOperationAdd(path, content) for path, content in small.items()),
        ]

    def _commit(self, base: str, operations: list[Any], readme: bytes) -> str | None:
        """The commit on main, or None when main is no longer at `base`."""
        if self._holds(base, readme):
            return base  # published before, to the last byte

        def land() -> str | None:
            try:
                return str(
                    self.api.create_commit(
                        self.job.repo_id, operations, repo_type=DATASET, revision=MAIN, parent_commit=base,
                        commit_message=f"Publish the selection {self.job.config_name}",
                        commit_description=f"{self.job.said['counts']['kept']} of {self.job.said['counts']['rows']} rows",
                    ).oid
                )  # fmt: skip
            except HfHubHTTPError as error:
                if status_of(error) != 412:
                    raise
            # An answer may have been lost on its way after the commit landed: then main holds it by now.
            head = self._head(MAIN)
            return head if self._holds(head, readme) else None

        return retried(land, f"Landing on {MAIN} of {self.job.repo_id}", PASSING - {412})

    def _open_pull_request(self) -> str:
        """The small files open it, the rows follow."""
        self._refuse_other_columns(self._head(MAIN))
        operations = [CommitOperationAdd(path, content) for path, content in self.job.small_files().items()]
        begin = partial(
            self.api.create_commit, self.job.repo_id, operations, repo_type=DATASET, create_pr=True,
            commit_message=f"Publish the selection {self.job.config_name}",
        )  # fmt: skip
        # Only what surely did not happen is tried again: else there would be two pull requests.
        opened = retried(begin, "Opening a pull request", frozenset({429, 503}))
        revision = str(opened.pr_revision)
        self._push_tables(revision)
        readme = [CommitOperationAdd(README, self._readme(revision))]
        finish = partial(
            self.api.create_commit, self.job.repo_id, readme, repo_type=DATASET, revision=revision,
            commit_message="Describe it",
        )  # fmt: skip
        commit = retried(finish, "Writing the card")
        self._verify(revision)
        logger.info("Pull request: %s", opened.pr_url)
        return str(commit.oid)

    def _readme(self, revision: str) -> bytes:
        """The README that `push_to_hub` left at a revision, with our section and metadata."""
        text = self._text(README, revision) or ""
        card = DatasetCard(text, ignore_metadata_errors=True)
        return self.job.readme(card.data.to_dict(), card.text).encode()

    def _refuse_other_columns(self, revision: str) -> None:
        """A configuration of the same name and other columns is somebody's other dataset."""
        text = self._text(README, revision)
        if text is None or self.overwrite:
            return
        for info in tree.as_list(DatasetCard(text, ignore_metadata_errors=True).data.to_dict().get("dataset_info")):
            table = self.job.tables.get(info.get("config_name", "default"))
            there = {feature.get("name") for feature in info.get("features") or []}
            if table is not None and there and there != set(table.column_names):
                only = sorted(there ^ set(table.column_names))
                raise PublishError(
                    f"`config_name` {info['config_name']!r} of {self.job.repo_id} has other columns (only there or only "
                    f"here: {only}), expected the same. Choose another `config_name`, or pass overwrite=True."
                )

    def _verify(self, revision: str) -> None:
        """Read back, from every file of every table, which rows it holds.

        Raises:
            PublishError: not the rows that were sent, in their order.
        """
        for name, table in self.job.tables.items():
            ids = retried(partial(self._row_ids, name, revision), f"Reading {name} back")
            if kept_ids_digest(ids) != kept_ids_digest([str(row_id) for row_id in table[ROW_ID]]):
                raise PublishError(
                    f"`{self.job.repo_id}` gave back {len(ids)} rows of {name!r} that are not the {len(table)} sent, "
                    f"expected the same in the same order. {MAIN} was not touched: run the same again."
                )

    def _row_ids(self, name: str, revision: str) -> list[str]:
        from huggingface_hub import HfFileSystem

        files = HfFileSystem(token=self.api.token, endpoint=self.api.endpoint, skip_instance_cache=True)
        ids: list[str] = []
        for path in sorted(path for path in self._files(revision) if path.startswith(f"{name}/")):
            with files.open(f"datasets/{self.job.repo_id}/{path}", "rb", revision=revision) as file:
                ids += [str(row_id) for row_id in pq.read_table(file, columns=[ROW_ID])[ROW_ID].to_pylist()]
        return ids

    def _head(self, revision: str) -> str:
        info = retried(
            partial(self.api.repo_info, self.job.repo_id, repo_type=DATASET, revision=revision),
            f"Looking at {self.job.repo_id}",
        )
        return str(info.sha)

    def _files(self, revision: str) -> dict[str, str]:
        """Content address of every file at a revision."""

        def listed() -> dict[str, str]:
            entries = self.api.list_repo_tree(self.job.repo_id, repo_type=DATASET, revision=revision, recursive=True)
            return {entry.path: entry.blob_id for entry in entries if hasattr(entry, "blob_id")}

        return retried(listed, f"Listing {self.job.repo_id}")

    def _holds(self, revision: str, readme: bytes) -> bool:
        """Whether a revision holds this very selection and card."""
        place = f"selections/{self.job.config_name}/{FILE}"
        ours = self.job.small_files()[place].decode()
        return self._text(place, revision) == ours and self._text(README, revision) == readme.decode()

    def _text(self, path: str, revision: str) -> str | None:
        """A text file at a revision, or None where there is none."""

        def read() -> str | None:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    file = self.api.hf_hub_download(
                        self.job.repo_id, path, repo_type=DATASET, revision=revision, local_dir=folder
                    )
                except EntryNotFoundError:
                    return None
                return Path(file).read_bytes().decode("utf-8")

        return retried(read, f"Reading {path}")

    def _drop_branch(self) -> None:
        """Best effort: a branch left behind is in nobody's way, and the next run clears it."""
        try:
            self.api.delete_branch(self.job.repo_id, repo_type=DATASET, branch=self.branch)
        except Exception as error:  # noqa: BLE001 (must not hide what is going on)
            if status_of(error) != 404:
                logger.info("The branch %s is still there: %s", self.branch, explained(error, "Deleting it"))
