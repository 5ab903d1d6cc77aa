"""Which engine: the cheapest exact one that agrees with one backward pass per row, on rows of the anchors.

The anchors, not the first rows of the pool: they belong to the scorer, so every process and every resumed run chooses
the same engine and the same step.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from hf_datasel.contracts import Scores
from hf_datasel.errors import DataselError
from hf_datasel.proxy.batching import TokenBudget, in_batches, is_out_of_memory
from hf_datasel.proxy.engines.finite_differences import LENGTHS, finite_differences
from hf_datasel.proxy.engines.forward_mode import forward_mode, plain_forward_mode
from hf_datasel.proxy.engines.ghost import ghost
from hf_datasel.proxy.engines.per_row import per_row
from hf_datasel.proxy.engines.refusals import refuse_where_numbers_jump
from hf_datasel.proxy.engines.rounded import rounded
from hf_datasel.proxy.engines.task import Engine, Task
from hf_datasel.proxy.label_forward import NotApplicable
from hf_datasel.proxy.losses import collate
from hf_datasel.rows.labels import IGNORED, TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy

logger = logging.getLogger(__name__)

EngineName = Literal["auto", "forward_mode", "finite_differences", "bfloat16", "ghost", "per_row"]
# Largest difference from `per_row`, relative to the largest value: rounding of the weights' dtype.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.05}
NUM_CHECKED, NUM_CALIBRATED = 4, 16  # anchors
AGREEMENT = 0.999  # rank correlation that finite differences must reach
ROUNDED_AGREEMENT = 0.99  # correlation that forward mode in bfloat16 must reach

EXACT: dict[str, tuple[Callable[[Task], Engine], ...]] = {
    "forward_mode": (forward_mode, plain_forward_mode),
    "ghost": (ghost,),
}


@dataclass(frozen=True)
class EngineReport:
    """Which engine measures, and why.

    Args:
        engine: its name.
        why: in words.
        difference: the largest from `per_row` on the rows checked, relative to the largest value.
        rows_checked: how many.
        passed_over: engines tried before, and what kept them out.
        steps: of finite differences, |theta moved - theta| per direction.
    """

    engine: str
    why: str
    difference: float = 0.0
    rows_checked: int = 0
    passed_over: tuple[tuple[str, str], ...] = ()
    steps: tuple[float, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.engine}, {self.why}"]
        if self.rows_checked:
            parts.append(f"within {self.difference:.0e} of a backward pass per row on {self.rows_checked} anchors")
        return "; ".join([*parts, *(f"not {tried}: {problem}" for tried, problem in self.passed_over)])

    def as_dict(self) -> dict[str, Any]:
        """JSON-like, for provenance."""
        return {**asdict(self), "passed_over": dict(self.passed_over), "steps": list(self.steps)}


def choose(
    task: Task, name: EngineName, anchors: Sequence[TokenRow], budget: TokenBudget
) -> tuple[Engine, EngineReport]:
    """The engine for a task, checked against `per_row`. Cost: a few forwards and backwards on at most 16 anchors.

    Args:
        task: what is to be measured.
        name: an engine, or `"auto"`: the cheapest exact one that passes (forward mode for one direction, ghost products
            for more).
        anchors: rows to check on.
        budget: of padded tokens a batch; halved where memory runs short.

    Raises:
        DataselError: the engine named does not fit the model.
        ValueError: finite differences in 16 bits.
    """
    if name == "per_row":
        return per_row(task), EngineReport("per_row", "named")
    if name in ("finite_differences", "bfloat16"):
        refuse_where_numbers_jump(task, name)
        try:
            return (_calibrated if name == "finite_differences" else _rounded)(task, anchors, budget)
        except DataselError:
            raise
        except Exception as error:
            raise DataselError(
                f"`engine` is {name!r} and does not fit this proxy ({_in_words(error)}). Use engine='auto'."
            ) from error
    order = ["forward_mode", "ghost"] if task.num_directions == 1 else ["ghost", "forward_mode"]
    names = order if name == "auto" else [name]
    truth = _truth(task, anchors[:NUM_CHECKED], budget)
    passed_over: list[tuple[str, str]] = []
    for candidate in names:
        for make in EXACT[candidate]:
            engine, difference, problem = _check(task, make, truth)
            if engine is not None:
                why = "named" if name != "auto" else f"the cheapest exact one for {task.num_directions} direction(s)"
                report = EngineReport(candidate, why, difference, len(truth.rows), tuple(passed_over))
                logger.info("Engine: %s", report)
                return engine, report
            passed_over.append((f"{candidate} ({make.__name__})", problem))
    reasons = "; ".join(f"{tried}: {problem}" for tried, problem in passed_over)
    if not np.isfinite(truth.dots).all():
        reasons = "the anchors' own values are not finite, so no engine can be checked"
    if name != "auto":
        raise DataselError(f"`engine` is {name!r} and does not fit this proxy ({reasons}). Use engine='auto'.")
    warnings.warn(
        f"`proxy` fits no fast engine ({reasons}). Each row gets its own backward pass: the same, but slower."
    )
    return per_row(task), EngineReport("per_row", "no fast engine fits", passed_over=tuple(passed_over))


@dataclass(frozen=True)
class _Truth:
    """Rows of the anchors and their inner products (B, G) by `per_row`."""

    rows: Sequence[TokenRow]
    dots: Scores
    budget: TokenBudget


def _truth(task: Task, rows: Sequence[TokenRow], budget: TokenBudget) -> _Truth:
    if len(rows) == 1:  # one row alone cannot show that rows are told apart
        rows = [*rows, _backwards(rows[0])]
    engine = per_row(replace(task, token_level=False, also=()))
    dots = [engine(collate([row], task.proxy)).dots for row in rows]
    return _Truth(rows, torch.cat(dots).cpu().numpy(), budget)


def _backwards(row: TokenRow) -> TokenRow:
    """Another row of the same tokens. Those of an image keep their order; another answer is expected instead."""
    if row.media:
        other = row.input_ids[0]
        return replace(row, labels=tuple(label if label == IGNORED else other for label in row.labels))
    tokens = row.input_ids[::-1]
    labels = (t if label != IGNORED else IGNORED for t, label in zip(tokens, row.labels, strict=True))
    return TokenRow(tokens, tuple(labels), row.status)


def _check(task: Task, make: Callable[[Task], Engine], truth: _Truth) -> tuple[Engine | None, float, str]:
    """The engine if it passes, its difference from the truth, and otherwise the problem."""
    try:
        engine = make(task)
        found = _padded(engine, truth, task.proxy)
    except Exception as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):  # of a single row: says nothing of the engine
            raise
        return None, np.inf, _in_words(error)
    difference = float(np.max(np.abs(found - truth.dots)) / max(np.max(np.abs(truth.dots)), 1e-300))
    if difference <= TOLERANCES[next(iter(task.proxy.parameters.values())).dtype]:
        return engine, difference, ""
    return None, difference, f"differs by {difference:.1e} from a backward pass per row"


def _in_words(error: Exception) -> str:
    if isinstance(error, NotApplicable):
        return str(error)
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _padded(engine: Engine, truth: _Truth, proxy: LoadedProxy) -> Scores:
    """Measured in batches with more padding than they need, so that padding is checked as well."""
    longest = max(len(row.input_ids) for row in truth.rows)
    room = 3 if proxy.context is None else min(3, proxy.context - longest)
    found = np.zeros_like(truth.dots)
    for bucket, _, measured in in_batches(truth.rows, proxy, truth.budget, engine, room):
        found[bucket] = measured.dots.cpu().numpy()
    return found


def _calibrated(task: Task, anchors: Sequence[TokenRow], budget: TokenBudget) -> tuple[Engine, EngineReport]:
    """Finite differences with, for each direction, the step that agrees best on up to 16 anchors."""
    truth = _truth(task, anchors[:NUM_CALIBRATED], budget)
    plain = replace(task, token_level=False, also=())
    steps, differences = [], []
    for group in range(task.num_directions):
        one = replace(plain, directions={name: value[group : group + 1] for name, value in task.directions.items()})
        exact = truth.dots[:, group]
        tried = []
        for length in LENGTHS:
            found = _padded(finite_differences(one, (length,)), truth, task.proxy)[:, 0]
            scale = max(float(np.max(np.abs(exact))), 1e-300)
            error = float(np.max(np.abs(found - exact))) / scale
            # A step so long that losses overflow gives NaN, which `min` would keep when it comes first.
            tried.append((error if np.isfinite(error) else np.inf, length, rank_correlation(found, exact)))
        difference, length, agreement = min(tried)
        if difference > 0.01 or (len(exact) >= 8 and agreement < AGREEMENT):
            raise DataselError(
                f"`engine` is 'finite_differences' and its best step differs by {difference:.1e} from exact values "
                f"(rank correlation {agreement:.4f}, expected {AGREEMENT}). Use engine='auto'."
            )
        steps.append(length)
        differences.append(difference)
    report = EngineReport("finite_differences", "named", max(differences), len(truth.rows), steps=tuple(steps))
    logger.info("Engine: %s", report)
    return finite_differences(task, report.steps), report


def _rounded(task: Task, anchors: Sequence[TokenRow], budget: TokenBudget) -> tuple[Engine, EngineReport]:
    """Forward mode in bfloat16, if it agrees on up to 16 anchors. Not by ranks: rounding swaps close ones."""
    engine = rounded(task)
    truth = _truth(task, anchors[:NUM_CALIBRATED], budget)
    found = _padded(engine, truth, task.proxy)
    difference = float(np.max(np.abs(found - truth.dots)) / max(np.max(np.abs(truth.dots)), 1e-300))
    groups = range(task.num_directions)
    agreement = float(np.min([np.corrcoef(found[:, group], truth.dots[:, group])[0, 1] for group in groups]))
    if not (agreement >= ROUNDED_AGREEMENT or (len(truth.rows) < 8 and difference < 0.05)):
        raise DataselError(
            f"`engine` is 'bfloat16', which correlates with exact values at {agreement:.6f} on {len(truth.rows)} anchors, "
            f"expected {ROUNDED_AGREEMENT}. Use engine='auto', or 'finite_differences' as the rough stage of a cascade."
        )
    report = EngineReport("bfloat16", "named", difference, len(truth.rows))
    logger.info("Engine: %s", report)
    return engine, report


def rank_correlation(left: Scores, right: Scores) -> float:
    """Spearman's, without ties; 1.0 for fewer than two values.

    Example:
        >>> round(rank_correlation(np.array([1.0, 5.0, 3.0]), np.array([0.1, 0.2, 0.3])), 12)
        0.5
    """
    if len(left) < 2:
        return 1.0
    return float(np.corrcoef(np.argsort(np.argsort(left)), np.argsort(np.argsort(right)))[0, 1])
