"""What a recipe says: one frozen dataclass per section."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel.proxy import Proxy
from hf_datasel.rows import Labels, stratified
from hf_datasel.rows.places import refuse_media_outside
from hf_datasel.training import TargetTraining, WarmUp


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.contracts import Learner, Rule, Scorer

FILE_LOADERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


@dataclass(frozen=True)
class Source:
    """Where rows come from.

    Args:
        path: a file (`.jsonl`, `.json`, `.parquet`, `.csv`, also `.gz`), a folder written by `save_to_disk`, or a Hub
            dataset id. A relative file is looked up beside the recipe.
        name: configuration of a Hub dataset.
        split: split of a Hub dataset.
        revision: commit of a Hub dataset; pin it to be able to repeat the run.
        rename: columns of yours by their name here, for example `{question: prompt, answer: completion}`.
        media_root: folder under which images and videos lie that rows name by path; relative to the recipe. By default that
            of the file (or the folder itself); of a Hub dataset what was downloaded with it. Rows that name other files are
            refused: they would be read, shown on the report page and published.
    """

    path: str
    name: str | None = None
    split: str = "train"
    revision: str | None = None
    rename: dict[str, str] = field(default_factory=dict)
    media_root: str | None = None

    def load(self) -> Dataset:
        """Read the rows.

        Raises:
            FileNotFoundError: `path` is neither a file, nor a folder, nor a dataset on the Hub.
            ValueError: the file is empty or broken, of another kind, or `rename` names a column there is not.
            BadRow: a row names an image or a video outside of `media_roots`.
        """
        from datasets import load_dataset, load_from_disk

        path = Path(self.path)
        kind = FILE_LOADERS.get(Path(path.name.removesuffix(".gz")).suffix)
        if kind and not os.path.isfile(path):
            raise FileNotFoundError(f"there is no file {str(path)!r}")
        if kind and not path.stat().st_size:
            raise ValueError(f"{str(path)!r} is empty")
        if kind:
            try:
                dataset = load_dataset(kind, data_files=str(path), split="train")
            except Exception as error:
                raise ValueError(first_fault(path) or f"it is no {kind} ({innermost(error)})") from error
        elif os.path.isdir(path):
            dataset = load_from_disk(str(path))
        elif os.path.exists(path):
            raise ValueError(f"its name ends in none of {', '.join(FILE_LOADERS)}")
        else:
            dataset = load_dataset(self.path, self.name, split=self.split, revision=self.revision)
        unknown = sorted(set(self.rename) - set(dataset.column_names))
        if unknown:
            raise ValueError(f"`rename` names {unknown}, expected columns among {dataset.column_names}.")
        dataset = dataset.rename_columns(self.rename)
        refuse_media_outside(dataset, self.media_roots, "media_root")
        return dataset

    @property
    def media_roots(self) -> tuple[Path, ...]:
        """Folders under which files may lie that rows name."""
        from datasets import config
        from huggingface_hub import constants

        path = Path(self.path)
        if self.media_root is not None:
            return (Path(self.media_root),)
        if path.exists():
            return (path if path.is_dir() else path.parent,)
        own = Path(constants.HF_HUB_CACHE) / f"datasets--{self.path.replace('/', '--')}"
        return (own, Path(config.DOWNLOADED_DATASETS_PATH))


def first_fault(path: Path) -> str | None:
    """The first line of a file of JSON lines that is none, or None.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "rows.jsonl"
        >>> file.write_text('{"text": "a"}\\n{"text": "b"\\n') and first_fault(file)
        "line 2 is no JSON (Expecting ',' delimiter at character 13). Mend or remove that line"
    """
    if Path(path.name.removesuffix(".gz")).suffix != ".jsonl":
        return None
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    if line.strip() and not isinstance(json.loads(line), dict):
                        return (
                            f"line {number} is no row, expected names and values in braces. Mend or remove that line"
                        )
                except json.JSONDecodeError as error:
                    return f"line {number} is no JSON ({error.msg} at character {error.pos}). Mend or remove that line"
                except UnicodeDecodeError:
                    return f"line {number} is no UTF-8. Save the file as UTF-8"
                except (RecursionError, ValueError):
                    return f"line {number} is nested too deep, or holds too large a number. Mend or remove that line"
    except (OSError, EOFError) as error:
        return f"the file cannot be read ({error})"
    return None


def innermost(error: BaseException) -> str:
    """What a reader said first, without what was said around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"


@dataclass(frozen=True)
class PoolSection(Source):
    """The pool, and how its rows become tokens and labels in scoring and training alike."""

    labels: Labels = Labels()  # noqa: RUF009 (frozen)


@dataclass(frozen=True)
class AnchorSection(Source):
    """The anchors, drawn from a held-out source.

    Args:
        size: how many to draw; `None` takes all.
        by: column that names the stratum of a row.
        seed: of the draw.
    """

    size: int | None = None
    by: str | None = None
    seed: int = 0

    def load(self) -> Dataset:
        """Read and draw the anchors."""
        dataset = super().load()
        return stratified(dataset, self.size, self.by, self.seed) if self.size is not None else dataset


@dataclass(frozen=True)
class ScoreSection:
    """What scores the pool.

    Args:
        scorers: each `{ClassName: {arguments}}`, in the order they are called; learners among them are fitted on the pool
            as scored so far. `proxy`, `anchors` (for some, `validation` or `queries`), `labels` and `evaluation` are filled in
            from the recipe.
        proxy: the model that scores.
        warm_up: brief tuning of the proxy on a slice of the pool first.
    """

    scorers: list[dict[str, dict[str, Any]]]
    proxy: Proxy | None = None
    warm_up: WarmUp | None = None


@dataclass(frozen=True)
class TrainSection:
    """What is trained on the selection, and what beside it.

    Args:
        target: the model and how it trains.
        evaluation: held-out rows the trained models are judged on.
        seeds: one run of every arm for each.
        beside: other rules by the name of their arm, trained under the same contract.
        answers: generate answers to the evaluation's prompts and count exact matches.
        max_new_tokens: of a generated answer.
    """

    target: TargetTraining
    evaluation: Source
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    beside: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    answers: bool = False
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"`seeds` is {self.seeds}, expected at least one, and none twice: a copy is no other run."
            )


@dataclass(frozen=True)
class PublishSection:
    """What the card says beyond what was measured, and where `datasel publish` puts it.

    Args:
        title: heading of the card.
        about: what was selected, from what, and why.
        license: of the rows.
        sources: where the rows come from; a Hub id among them is linked. By default the pool's own Hub id.
        limits: what the figures can and cannot show.
        repo_id: NAMESPACE/NAME of the dataset repository.
        config_name: of the selection in it.
        private: visibility of a repository that is made.
        light: publish ids and scores only, without any content of the rows.
        model_repo_id: NAMESPACE/NAME of a model repository for the target trained with the first seed.
        space_repo_id: NAMESPACE/NAME of a static Space for the report page, which holds the rows it shows.
    """

    title: str = "A selection"
    about: str = ""
    license: str | None = None
    sources: list[str] = field(default_factory=list)
    limits: str = ""
    repo_id: str | None = None
    config_name: str = "selection"
    private: bool = True
    light: bool = False
    model_repo_id: str | None = None
    space_repo_id: str | None = None


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: every name resolved to a class, every value of the right type, every column there.

    Args:
        pool, anchors, score, train, publish: the sections.
        select: `{RuleName: {arguments}}`.
        scorers: the scorers and learners of `score`, built (they hold no model yet). Rebuilt on the warmed-up proxy when there is
            a warm-up.
        rule: the rule of `select`, built.
        rules_beside: the rules of `train.beside`, built.
        resolved: the sections as plain values with every default written out; `recipe.yaml` of a run.
        pool_rows, anchor_rows, evaluation_rows: what the sources gave.
    """

    pool: PoolSection
    score: ScoreSection
    select: dict[str, dict[str, Any]]
    anchors: AnchorSection | None
    train: TrainSection | None
    publish: PublishSection
    scorers: tuple[Scorer | Learner, ...]
    rule: Rule
    rules_beside: dict[str, Rule]
    resolved: dict[str, Any]
    pool_rows: Dataset = field(repr=False)
    anchor_rows: Dataset | None = field(repr=False)
    evaluation_rows: Dataset | None = field(repr=False)
