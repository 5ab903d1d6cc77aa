"""How a selection reaches the Hub: prepared on a branch of its own, read back there, landed in one commit."""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, DatasetCard, HfApi
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

from hf_datasel.errors import PublishError
from hf_datasel.hub import tree
from hf_datasel.hub.client import PASSING, explained, retried, status_of
from hf_datasel.hub.provenance import FILE, kept_ids_digest
from hf_datasel.rows.identity import ROW_ID


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

DATASET = "dataset"
MAIN = "main"
README = "README.md"
ROUNDS = 5  # attempts to land on a branch that others move
DATA_FILES = (".parquet", ".jsonl", ".json", ".csv", ".arrow")


@dataclass(frozen=True)
class Job:
    """What is to be published, whole.

    Args:
        repo_id, config_name: where to.
        tables: the configurations by name.
        folder: holds the small files.
        section: of the README.
        words: what the README's metadata is made from.
        said: the provenance.
    """

    repo_id: str
    config_name: str
    tables: Mapping[str, Dataset]
    folder: Path
    section: str
    words: Mapping[str, Any]
    said: Mapping[str, Any]

    def readme(self, metadata: Mapping[str, Any], body: str) -> str:
        """The README with our section and metadata put in."""
        metadata = tree.with_metadata(metadata, self.config_name, self.words)
        return tree.readme_text(metadata, tree.with_section(body, self.config_name, self.section))

    def small_files(self) -> dict[str, bytes]:
        """Everything but the rows and the README, by place in the repository."""
        places = [self.folder / "selections" / self.config_name, self.folder / "assets" / self.config_name]
        files = [path for place in places if place.is_dir() for path in sorted(place.iterdir())]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}


@dataclass(frozen=True)
class Landing:
    """One job on its way to the Hub.

    Args:
        job: what.
        api: the client.
        overwrite: replace what stands in the way under the same name.
    """

    job: Job
    api: HfApi
    overwrite: bool

    def run(self, private: bool, create_pr: bool) -> tuple[str, str | None]:
        """The commit, and the address of the pull request if one was asked for."""
        make = partial(self.api.create_repo, self.job.repo_id, repo_type=DATASET, private=private, exist_ok=True)
        retried(make, f"Creating {self.job.repo_id}")
        for _ in range(ROUNDS):
            base = self._head(MAIN)
            self._refuse_what_stands_in_the_way(base)
            # A name of its own: another publisher, or what a killed run left, must not get in between.
            branch = f"datasel-{self.job.config_name}-{secrets.token_hex(4)}"
            try:
                staged = self._stage(base, branch)
                readme = self._readme(staged)
                self._verify(staged)
                operations = self._operations(base, staged, branch, readme)
                if create_pr:
                    return self._open_pull_request(base, operations)
                commit = self._commit(base, operations, readme)
                if commit is not None:
                    return commit, None
                logger.info("Somebody else's commit came first. Once more, on top of it.")
            finally:
                self._drop(branch)
        raise PublishError(
            f"`{self.job.repo_id}` was changed by others {ROUNDS} times while this was under way, expected a quiet moment. "
            f"Run the same again: what is uploaded is not uploaded twice."
        )

    def _stage(self, base: str, branch: str) -> str:
        """The rows on a branch that starts at `base`; the commit that holds them."""
        make = partial(
            self.api.create_branch, self.job.repo_id, repo_type=DATASET, branch=branch, revision=base, exist_ok=True
        )
        retried(make, "Making a branch")
        retried(partial(self._clear, branch), "Clearing what is replaced")
        for name, table in self.job.tables.items():
            push = partial(
                table.push_to_hub, self.job.repo_id, config_name=name, split=tree.SPLIT, revision=branch,
                token=self.api.token, commit_message=f"Add {name}",
            )  # fmt: skip
            retried(push, f"Uploading {name}")
        return self._head(branch)

    def _clear(self, branch: str) -> None:
        """Forget an earlier publication of this name: `push_to_hub` would keep its columns, and add up its sizes."""
        text = self._text(README, branch)
        stale = [path for path in self._files(branch) if path.startswith(self._own_folders)]
        if text is None or not stale:
            return
        metadata, body = _parsed(text, self.job.repo_id)
        readme = tree.readme_text(tree.without_configs(metadata, self._own_configs), body)
        self.api.create_commit(
            self.job.repo_id,
            [*(CommitOperationDelete(path) for path in stale), CommitOperationAdd(README, readme.encode())],
            repo_type=DATASET, revision=branch, commit_message="Clear what is replaced",
        )  # fmt: skip

    def _operations(self, base: str, staged: str, branch: str, readme: bytes) -> list[Any]:
        """What makes main hold what was staged, and the small files with it; empty if it holds all of it already."""
        before, after = self._files(base), self._files(staged)
        own = self._own_folders
        copied = [path for path, oid in after.items() if path.startswith(own) and before.get(path) != oid]
        gone = [path for path in before if path.startswith(own) and path not in after]
        small = {**self.job.small_files(), README: readme}
        if not copied and not gone and self._holds(base, readme):
            return []
        return [
            *(CommitOperationCopy(path, path, src_revision=staged) for path in copied),
            *(CommitOperationDelete(path) for path in gone),
            *(CommitOperationAdd(path, content) for path, content in small.items()),
        ]

    def _commit(self, base: str, operations: list[Any], readme: bytes) -> str | None:
        """The commit on main, or None when main is no longer at `base`."""
        if not operations:
            return base

        def land() -> str | None:
            try:
                return str(self._create_commit(base, operations).oid)
            except HfHubHTTPError as error:
                if status_of(error) != 412:
                    raise
            # An answer may have been lost on its way after the commit landed: then main holds it by now.
            head = self._head(MAIN)
            return head if self._holds(head, readme) else None

        try:
            return retried(land, f"Landing on {MAIN} of {self.job.repo_id}", PASSING - {412})
        except PublishError as error:
            head = self._head(MAIN)
            if head == base:
                raise
            if self._holds(head, readme):
                return head
            raise PublishError(f"{error} {MAIN} has moved meanwhile: look whether it is there already.") from None

    def _open_pull_request(self, base: str, operations: list[Any]) -> tuple[str, str]:
        if not operations:
            raise PublishError(f"`{self.job.repo_id}` holds this selection already: there is nothing to ask for.")
        opened = retried(
            # Only what surely did not happen is tried again: else there would be two pull requests.
            partial(self._create_commit, base, operations, create_pr=True), "Opening a pull request", frozenset({429, 503})
        )  # fmt: skip
        return str(opened.oid), str(opened.pr_url)

    def _create_commit(self, base: str, operations: list[Any], **options: Any) -> Any:
        counts = self.job.said["counts"]
        return self.api.create_commit(
            self.job.repo_id, operations, repo_type=DATASET, revision=MAIN, parent_commit=base,
            commit_message=f"Publish the selection {self.job.config_name}",
            commit_description=f"{counts['kept']} of {counts['rows']} rows", **options,
        )  # fmt: skip

    def _readme(self, revision: str) -> bytes:
        """The README that `push_to_hub` left at a revision, with our section and metadata."""
        text = self._text(README, revision)
        if text is None:
            raise PublishError(f"`{self.job.repo_id}` lost its README while this was under way. Run the same again.")
        return self.job.readme(*_parsed(text, self.job.repo_id)).encode()

    def _refuse_what_stands_in_the_way(self, base: str) -> None:
        """Somebody's other data must neither be replaced nor stop being what the repository loads as.

        Raises:
            PublishError: see above.
        """
        text, files = self._text(README, base), self._files(base)
        metadata = _parsed(text, self.job.repo_id)[0] if text is not None else {}
        if f"selections/{self.job.config_name}/{FILE}" in files and not self._holds_selection(base):
            logger.warning("This replaces another selection published as %r before.", self.job.config_name)
        if self.overwrite:
            return
        ours = f"selections/{self.job.config_name}/{FILE}" in files
        taken = [path for path in files if path.startswith(self._own_folders)]
        if taken and not ours:
            raise PublishError(
                f"`config_name` is {self.job.config_name!r} and {self.job.repo_id} holds other files in that folder "
                f"({taken[0]}), expected none. Choose another `config_name`, or pass overwrite=True."
            )
        bare = [path for path in files if path.endswith(DATA_FILES) and not path.startswith("selections/")]
        if bare and not metadata.get("configs"):
            raise PublishError(
                f"`repo_id` {self.job.repo_id} holds data without `configs` in its README ({bare[0]}), expected none: adding "
                f"ours would change what `load_dataset` gives there. Declare its configs first, or use another repository."
            )
        for info in tree.as_list(metadata.get("dataset_info")):
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
        return self._holds_selection(revision) and self._text(README, revision) == readme.decode()

    def _holds_selection(self, revision: str) -> bool:
        place = f"selections/{self.job.config_name}/{FILE}"
        return self._text(place, revision) == self.job.small_files()[place].decode()

    def _text(self, path: str, revision: str) -> str | None:
        """A text file at a revision, or None where the Hub says that there is none."""

        def read() -> str | None:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    file = self.api.hf_hub_download(
                        self.job.repo_id, path, repo_type=DATASET, revision=revision, local_dir=folder
                    )
                except RemoteEntryNotFoundError:  # not its sibling for a file that could not be asked for
                    return None
                return Path(file).read_bytes().decode("utf-8")

        return retried(read, f"Reading {path}")

    def _drop(self, branch: str) -> None:
        """Best effort: a branch left behind is in nobody's way, as no later run uses its name."""
        try:
            self.api.delete_branch(self.job.repo_id, repo_type=DATASET, branch=branch)
        except Exception as error:  # noqa: BLE001 (must not hide what is going on)
            logger.info("The branch %s is still there: %s", branch, explained(error, "Deleting it"))

    @property
    def _own_configs(self) -> tuple[str, str]:
        return (self.job.config_name, f"{self.job.config_name}{tree.SCORED}")

    @property
    def _own_folders(self) -> tuple[str, ...]:
        return tuple(f"{name}/" for name in self._own_configs)


def _parsed(text: str, repo_id: str) -> tuple[dict[str, Any], str]:
    """The metadata and the body of a README.

    Raises:
        PublishError: its YAML cannot be read.
    """
    try:
        card = DatasetCard(text, ignore_metadata_errors=True)
        return card.data.to_dict(), card.text
    except Exception as error:  # noqa: BLE001 (of YAML, or of the client's own checks)
        failed = PublishError(
            f"`{repo_id}` has a README whose YAML cannot be read ({str(error).splitlines()[0]}), expected one that can. Mend it "
            f"first: publishing adds to it."
        )
    raise failed
