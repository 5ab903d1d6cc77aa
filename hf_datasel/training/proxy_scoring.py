"""Scoring in the middle of a training run that somebody has anyway: the proxy's own."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from transformers import TrainerCallback

from hf_datasel.errors import BadRecipe, DataselError
from hf_datasel.proxy.proxy import Proxy
from hf_datasel.rows import Labels, content_only, with_row_ids
from hf_datasel.rows.identity import row_digest
from hf_datasel.rows.reader import load_reader
from hf_datasel.runs import score, spec_key
from hf_datasel.runs.score import check_pool
from hf_datasel.training import snapshots
from hf_datasel.training.seen_rows import SeenRows, flags, read_seen
from hf_datasel.training.snapshots import Snapshot, find_snapshots, percent


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

SEEN = "seen_in_training"


class ProxyScoringCallback(TrainerCallback):
    """Scores the pool with the model being trained, at given shares of the training; for any Trainer or SFTTrainer.

    At each share the weights are saved, and a copy of them scores: what a column holds is exactly what the saved
    snapshot scores afterwards. The training is not touched: its weights end up the same to the last bit with and without
    the callback. Several processes (DDP) score a contiguous share of the pool each. A stopped scoring goes on from its
    journal.

    Cost at each share: that of `scorer` over the pool, tokenising it once more, and a copy of the model in memory while it
    lasts. Processes wait for the slowest: raise `ddp_timeout` of the training where a share takes longer than that.

    Args:
        pool: N rows to score. Need not be the rows trained on.
        scorer: any scorer with a `proxy`, such as `OneStepTrain`. Its proxy names the model that training starts from,
            and which parameters step (of an adapter: `trainable="lora"`); its weights are those of the snapshot.
        folder: where snapshots and scores go. All processes must see it.
        at: shares of the optimisation steps, 0 to 1. The paper: 0.05; its Table 5: 0, 0.05, 0.25, 1.
        mode: `"score"` during training; `"snapshot"` lets the Trainer save a checkpoint at each share and keeps what
            scoring needs of it, for `score_snapshots` afterwards. The only way when DeepSpeed or FSDP spread the weights
            over processes.

    Raises:
        BadRecipe: `at` out of range, a scorer without a proxy, or (when training begins) `"score"` on sharded weights.

    Source: https://huggingface.co/papers/2605.07488, 5.3 and Tab. 5 (0, 5, 25 and 100 % of one run).

    Example:
        >>> import tempfile
        >>> from datasets import Dataset
        >>> from hf_datasel import OneStepTrain
        >>> start = Proxy("HuggingFaceTB/SmolLM2-135M")
        >>> callback = ProxyScoringCallback(
        ...     Dataset.from_dict({"prompt": ["2 + 2 ="], "completion": ["4"]}),
        ...     OneStepTrain(start, [{"prompt": "1 + 1 =", "completion": "2"}]),
        ...     tempfile.mkdtemp(),
        ...     at=(0, 0.05, 0.25, 1),
        ... )
        >>> callback.columns[0], callback.columns[-1]
        ('ost_utility_at_0pct', 'seen_in_training_at_100pct')

        Then `SFTTrainer(..., callbacks=[callback]).train()`, and `callback.scored` is the pool with these columns.
    """

    def __init__(
        self,
        pool: Dataset,
        scorer: Any,
        folder: str | Path,
        at: Sequence[float] = (0.05,),
        mode: Literal["score", "snapshot"] = "score",
    ) -> None:
        problems = []
        if not at or not all(0 <= fraction <= 1 for fraction in at) or len(set(at)) != len(at):
            problems.append(f"`at` is {tuple(at)}, expected different shares of the training, 0 to 1.")
        if mode not in ("score", "snapshot"):
            problems.append(f"`mode` is {mode!r}, expected 'score' or 'snapshot'.")
        if mode == "snapshot" and 0 in at:
            problems.append("`at` has 0 with mode='snapshot', expected more: score with the starting model instead.")
        if not isinstance(getattr(scorer, "proxy", None), Proxy) or not dataclasses.is_dataclass(scorer):
            problems.append(
                f"`scorer` is a {type(scorer).__name__}, expected one with a `proxy`, such as OneStepTrain."
            )
        if len(pool) == 0:
            problems.append("`pool` has no rows, expected at least one.")
        if problems:
            raise BadRecipe("\n".join(problems))
        if 0 in at and getattr(scorer, "step", "sgd") == "adam":
            raise BadRecipe(
                "`at` has 0 and the scorer step='adam', expected more: an optimizer has no state at the start."
            )
        check_pool(pool, [scorer])
        self.pool = with_row_ids(pool)
        self.scorer = scorer
        self.folder = Path(folder)
        self.at = tuple(sorted(float(fraction) for fraction in at))
        self.mode = mode
        self._steps: dict[int, list[float]] = {}
        self._seen: SeenRows | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """What `scored` adds to the pool, in the order of training."""
        return tuple(f"{name}_at_{percent(share)}" for share in self.at for name in (*self.scorer.columns, SEEN))

    @property
    def snapshots(self) -> list[Snapshot]:
        """The snapshots finished so far, of this run or an earlier one in the same folder."""
        return [snapshot for snapshot in find_snapshots(self.folder) if snapshot.fraction in self.at]

    @property
    def scored(self) -> Dataset:
        """The pool with every scored snapshot's columns, named `<column>_at_<percent>pct`.

        `seen_in_training_at_...` tells the rows the model had been trained on by then, by their tokens and images as SFT prepares
        them: their scores come from a model that knows them. It is null where it cannot be told: with packed rows, in a
        training that was resumed, and where the trainer's own options differ from the scorer's `labels`.

        Raises:
            DataselError: nothing was scored yet.
        """
        from datasets import concatenate_datasets

        found = [self.pool]
        for snapshot in self.snapshots:
            columns = self._read_scores(snapshot)
            if columns is not None:
                names = {name: f"{name}_at_{percent(snapshot.fraction)}" for name in columns.column_names}
                found.append(columns.rename_columns(names))
        if len(found) == 1:
            raise DataselError(
                f"`folder` {str(self.folder)!r} holds no scores, expected some. Train with the callback first; with "
                f"mode='snapshot', call `score_snapshots()` after training."
            )
        return concatenate_datasets(found, axis=1)

    def averaged(self, weights: Literal["learning_rate", "equal"] = "learning_rate") -> Dataset:
        """`scored` with the mean of the score over the checkpoints, as column `<score>_average`.

        Args:
            weights: a checkpoint counts by the learning rate of the step that training takes after it, or all alike. A
                decayed learning rate gives the end of the training no weight.

        Raises:
            DataselError: nothing was scored yet, or every learning rate is 0.

        Source: TracIn's sum over checkpoints (https://huggingface.co/papers/2002.08484), as LESS weights it.
        """
        scored, score_name = self.scored, self.scorer.columns[0]
        done = [snapshot for snapshot in self.snapshots if self._read_scores(snapshot) is not None]
        rates = np.array([snapshot.learning_rate if weights == "learning_rate" else 1.0 for snapshot in done])
        if rates.sum() == 0:
            raise DataselError(
                "`weights` is 'learning_rate' and the learning rate was 0 at every checkpoint, expected more at one of "
                "them. Add an earlier share to `at`, or use weights='equal'."
            )
        columns = [np.asarray(scored[f"{score_name}_at_{percent(s.fraction)}"][:], np.float64) for s in done]
        return scored.add_column(f"{score_name}_average", (rates / rates.sum()) @ np.stack(columns))

    def score_snapshots(self) -> Dataset:
        """Score every snapshot that this scorer has not scored yet on this pool, and return `scored`.

        Under torchrun, each process scores its share.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            PartialState(cpu=not torch.cuda.is_available())  # joins the processes, where nobody has yet
        for snapshot in self.snapshots:
            if _agreed(self._read_scores(snapshot) is None):
                self._score(snapshot)
        return self.scored

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Find the steps to stop at; score the starting model where `at` has 0."""
        model = kwargs["model"]
        if self.mode == "score" and (args.deepspeed or args.fsdp or snapshots.is_sharded(model)):
            raise BadRecipe(
                "`mode` is 'score' and the weights are spread over processes (FSDP or DeepSpeed), expected 'snapshot': it "
                "saves a checkpoint at each share of the training. Then score on unspread weights: "
                "`callback.score_snapshots()`, in one process or under torchrun."
            )
        if getattr(self.scorer, "step", "sgd") == "adam" and "betas" not in kwargs["optimizer"].param_groups[0]:
            raise BadRecipe("`scorer` has step='adam' and the training another optimizer, expected Adam or AdamW.")
        if state.global_step == 0 and args.process_index == 0:
            for snapshot in self.snapshots:  # of an earlier training
                snapshot.forget()
        self._steps = {}
        for fraction in self.at:
            self._steps.setdefault(snapshots.step_of(fraction, state.max_steps), []).append(fraction)
        self._seen = SeenRows(model) if state.global_step == 0 and self._sees_rows(args) else None
        if state.global_step == 0 and 0 in self._steps:
            self._reach(0, args, kwargs)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop at a step asked for. Gradients are gone by now, the next step's random numbers not yet drawn."""
        if state.global_step in self._steps:
            if self.mode == "snapshot":
                control.should_save = True
            else:
                self._reach(state.global_step, args, kwargs)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the checkpoint that was asked for, before the Trainer may delete it."""
        if self.mode != "snapshot" or state.global_step not in self._steps:
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for snapshot in self._snapshots_at(state.global_step, kwargs):
            self._begin(snapshot)
            if state.is_world_process_zero:
                with_state = getattr(self.scorer, "step", "sgd") == "adam"
                snapshots.copy_checkpoint(checkpoint, snapshot.folder / snapshots.MODEL, with_state)
                snapshot.finish()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop watching; say which shares the training never reached."""
        if self._seen is not None:
            self._seen.close()
        missed = sorted(share for step, shares in self._steps.items() if step > state.global_step for share in shares)
        if missed:
            logger.warning(
                "Training ended at step %d of %d and never reached the shares %s: they have no scores.",
                state.global_step, state.max_steps, missed,
            )  # fmt: skip

    def _sees_rows(self, args: Any) -> bool:
        """Whether the batches show which rows they hold: each for itself, and with the tokens `scorer.labels` gives."""
        if getattr(args, "packing", False) or getattr(args, "padding_free", False):
            return False
        labels = vars(getattr(self.scorer, "labels", Labels()))
        return all(hasattr(args, name) and getattr(args, name) == value for name, value in labels.items())

    def _reach(self, step: int, args: Any, kwargs: dict[str, Any]) -> None:
        for snapshot in self._snapshots_at(step, kwargs):
            with snapshots.undisturbed():
                self._begin(snapshot)
                if args.process_index == 0:
                    optimizer = kwargs["optimizer"] if getattr(self.scorer, "step", "sgd") == "adam" else None
                    folder, tokenizer = snapshot.folder / snapshots.MODEL, kwargs.get("processing_class")
                    snapshots.write_model(folder, kwargs["model"], tokenizer, self.scorer.proxy, optimizer)
                    snapshot.finish()
                _wait()
                self._score(snapshot)

    def _snapshots_at(self, step: int, kwargs: dict[str, Any]) -> list[Snapshot]:
        rate = float(kwargs["lr_scheduler"].get_last_lr()[0])
        return [Snapshot(self.folder / f"at_{percent(share)}", share, step, rate) for share in self._steps[step]]

    def _begin(self, snapshot: Snapshot) -> None:
        """Clear what an earlier run left but its journal, and write which rows each process has seen."""
        rank, _ = _rank_and_world()
        if rank == 0:
            snapshot.forget()
            snapshot.folder.mkdir(parents=True, exist_ok=True)
        _wait()
        if not snapshot.folder.is_dir():
            raise DataselError(
                f"`folder` {str(self.folder)!r} does not show process {rank} what process 0 made, expected one folder for "
                f"all. Put it on a shared file system."
            )
        if self._seen is not None:
            self._seen.save(snapshot.folder / f"seen-{rank:05d}.npy")
        _wait()

    def _score(self, snapshot: Snapshot) -> None:
        rank, world = _rank_and_world()
        world = min(world, len(self.pool))
        if rank < world:
            share = self.pool.shard(world, rank, contiguous=True)
            scorer = self._scorer_at(snapshot)
            logger.info("Scoring %d rows at %s of the training.", len(share), percent(snapshot.fraction))
            # A journal each: SQLite's may not be shared over a network file system.
            found = score(share, scorer, journal=snapshot.folder / f"journal-{rank:05d}.sqlite")
            seen = self._flags(snapshot, share, scorer.proxy)
            found = found.select_columns(list(scorer.columns)).add_column(SEEN, seen)
            found.to_parquet(str(snapshot.folder / f"scores-{self._key(scorer)}-{rank:05d}-of-{world:05d}.parquet"))
        _wait()

    def _scorer_at(self, snapshot: Snapshot) -> Any:
        return dataclasses.replace(self.scorer, proxy=snapshot.proxy(self.scorer.proxy))

    def _key(self, scorer: Any) -> str:
        """Of what the numbers follow from: the scorer with these very weights, and the pool's rows in their order."""
        return spec_key({"scorer": scorer.spec, "rows": self._rows_digest})

    @functools.cached_property
    def _rows_digest(self) -> str:
        digest = blake2b(digest_size=16)
        for row in content_only(self.pool):
            digest.update(row_digest(row).encode())
        return digest.hexdigest()

    def _read_scores(self, snapshot: Snapshot) -> Dataset | None:
        """The columns of all processes in pool order, or None where this scorer did not finish on this pool."""
        from datasets import Dataset

        for whole in sorted(snapshot.folder.glob(f"scores-{self._key(self._scorer_at(snapshot))}-00000-of-*.parquet")):
            stem, world = whole.stem.replace("-00000-of-", " ").split()
            parts = [snapshot.folder / f"{stem}-{rank:05d}-of-{world}.parquet" for rank in range(int(world))]
            if all(part.is_file() for part in parts):
                return Dataset.from_parquet([str(part) for part in parts], keep_in_memory=True)
        return None

    def _flags(self, snapshot: Snapshot, rows: Dataset, proxy: Proxy) -> Any:
        import pyarrow as pa

        seen = read_seen(snapshot.folder)
        if seen is None:
            return pa.nulls(len(rows), pa.bool_())
        labels = getattr(self.scorer, "labels", Labels())
        code = {"revision": proxy.revision, "trust_remote_code": proxy.trust_remote_code}
        reader = load_reader(proxy.model, labels, **code)
        return pa.array(flags(content_only(rows), reader, labels, seen))


def _rank_and_world() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _wait() -> None:
    """Until every process is here."""
    if _rank_and_world()[1] > 1:
        torch.distributed.barrier()


def _agreed(answer: bool) -> bool:
    """What process 0 says: others may look a moment later, at files that changed meanwhile."""
    if _rank_and_world()[1] == 1:
        return answer
    said = [answer]
    torch.distributed.broadcast_object_list(said, src=0)
    return said[0]
