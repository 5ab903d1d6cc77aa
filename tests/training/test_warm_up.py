"""A warm-up takes the first few percent of a run, says which rows it saw, and is done once."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hf_datasel.errors import BadRecipe, BadRow
from hf_datasel.proxy import Proxy
from hf_datasel.rows import Labels, with_row_ids
from hf_datasel.training import TargetTraining, WarmUp, warm_up

from .conftest import Seen, same_weights, sums, weights


LABELS = Labels(max_length=64)
FAST = WarmUp(steps=3, batch_size=4, learning_rate=1e-2)


@pytest.fixture
def pool() -> Any:
    from datasets import Dataset

    return with_row_ids(Dataset.from_list(sums(40)))


@pytest.mark.parametrize(
    ("warm_up", "num_rows", "steps"),
    [
        (WarmUp(), 351_157, 2195),  # ceil(0.05 * ceil(351157 / 8))
        (WarmUp(fraction=0.07, batch_size=1), 100, 7),  # in binary 0.07 * 100 is more than 7
        (WarmUp(epochs=2.0, batch_size=8), 100, 2),  # ceil(0.05 * 25)
        (WarmUp(epochs=0.1, batch_size=1, fraction=1.0), 30, 3),
        (WarmUp(), 1, 1),
        (WarmUp(fraction=0.0), 1000, 0),
        (WarmUp(steps=5), 10, 5),
    ],
)
def test_number_of_steps(warm_up: WarmUp, num_rows: int, steps: int) -> None:
    assert warm_up.num_steps(num_rows) == steps


@pytest.mark.parametrize("none", [WarmUp(fraction=0.0), WarmUp(steps=0)])
def test_no_warm_up_leaves_the_proxy(none: WarmUp, tiny: str, pool: Any, tmp_path: Path) -> None:
    proxy = Proxy(tiny)
    warmed = none.fit(proxy, pool, LABELS, tmp_path / "warm")
    assert warmed.proxy is proxy
    assert (warmed.seen_row_ids, warmed.steps) == ((), 0)
    assert not (tmp_path / "warm").exists()


def test_the_proxy_moves_and_the_one_given_stays(tiny: str, pool: Any, tmp_path: Path) -> None:
    proxy = Proxy(tiny, dtype="float64", trainable=("self_attn",))
    before = proxy.digest
    warmed = FAST.fit(proxy, pool, LABELS, tmp_path)
    assert warmed.proxy == replace(proxy, model=str(tmp_path))
    assert warmed.steps == 3
    assert Proxy(tiny).digest == before != warmed.proxy.digest
    assert not same_weights(tiny, tmp_path)
    assert all("self_attn" in name for name in warmed.proxy.load(LABELS).parameters)


def test_rows_seen_are_rows_trained_on(tiny: str, pool: Any, tmp_path: Path, seen: Seen) -> None:
    warmed = FAST.fit(Proxy(tiny), pool, LABELS, tmp_path)
    prepared = seen.prepared[0]
    assert tuple(prepared["row_id"]) == warmed.seen_row_ids
    assert len(set(warmed.seen_row_ids)) == 12
    assert set(warmed.seen_row_ids) < set(pool["row_id"])
    fed = [row for batch in seen.batches for row in batch]
    assert fed == [tuple(ids) for ids in prepared["input_ids"]]
    (arguments,) = seen.arguments
    assert (arguments.learning_rate, arguments.lr_scheduler_type.value, arguments.max_steps) == (1e-2, "linear", 3)


def test_the_slice_does_not_depend_on_the_order_of_the_pool(tiny: str, pool: Any, tmp_path: Path) -> None:
    one = FAST.fit(Proxy(tiny), pool, LABELS, tmp_path / "one")
    other = FAST.fit(Proxy(tiny), pool.shuffle(seed=1), LABELS, tmp_path / "other")
    assert one.seen_row_ids == other.seen_row_ids
    assert same_weights(tmp_path / "one", tmp_path / "other")
    assert one.seen_row_ids != tuple(pool["row_id"][:12])
    reseeded = replace(FAST, seed=1).fit(Proxy(tiny), pool, LABELS, tmp_path / "reseeded")
    assert set(reseeded.seen_row_ids) != set(one.seen_row_ids)


def test_rows_without_a_score_are_not_seen(tiny: str, tmp_path: Path) -> None:
    from datasets import Dataset

    bad = [{"prompt": f"{n} = ", "completion": ""} for n in range(8)]
    too_long = [{"prompt": "1 = ", "completion": f"{n}" * 200} for n in range(8)]
    pool = with_row_ids(Dataset.from_list([*bad, *too_long, *sums(3)]))
    warmed = FAST.fit(Proxy(tiny), pool, Labels(max_length=None), tmp_path)  # the model's context is 128
    assert set(warmed.seen_row_ids) == set(pool["row_id"][-3:])
    assert warmed.steps == 3  # the three rows over and over
    with pytest.raises(BadRow, match="16 rows and none with a loss to warm up on"):
        FAST.fit(Proxy(tiny), pool.select(range(16)), Labels(max_length=None), tmp_path)


def test_rows_get_ids_where_they_have_none(tiny: str, pool: Any, tmp_path: Path) -> None:
    named = FAST.fit(Proxy(tiny), pool, LABELS, tmp_path)
    unnamed = FAST.fit(Proxy(tiny), pool.remove_columns("row_id"), LABELS, tmp_path)
    assert named.seen_row_ids == unnamed.seen_row_ids


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each training run there was."""
    count: list[str] = []
    run = warm_up.run_sft

    def counted(*args: Any, **kwargs: Any) -> Any:
        count.append("run")
        return run(*args, **kwargs)

    monkeypatch.setattr(warm_up, "run_sft", counted)
    return count


def test_a_finished_warm_up_is_reused(tiny: str, pool: Any, tmp_path: Path, runs: list[str]) -> None:
    first = FAST.fit(Proxy(tiny), pool, LABELS, tmp_path)
    record = json.loads((tmp_path / "warm_up.json").read_text())
    assert tuple(record["seen_row_ids"]) == first.seen_row_ids
    assert record["steps"] == 3
    assert record["proxy"]["weights"] == Proxy(tiny).digest
    assert FAST.fit(Proxy(tiny), pool, LABELS, tmp_path) == first
    assert FAST.fit(Proxy(tiny, dtype="float64"), pool, LABELS, str(tmp_path)).steps == 3  # the same weights warmed
    assert len(runs) == 1


@pytest.mark.parametrize("change", ["learning_rate", "labels", "content", "weights", "unfinished", "garbled"])
def test_anything_else_is_trained_anew(
    change: str, tiny: str, pool: Any, tmp_path: Path, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool.remove_columns("row_id").add_column("row_id", [str(i) for i in range(40)])
    FAST.fit(Proxy(tiny), pool, LABELS, tmp_path)
    proxy, labels, again = Proxy(tiny), LABELS, FAST
    if change == "learning_rate":
        again = replace(FAST, learning_rate=2e-2)
    elif change == "labels":
        labels = Labels(max_length=64, completion_only_loss=False)
    elif change == "content":
        pool = pool.map(lambda row: {"completion": row["completion"] + "!"})
    elif change == "weights":
        TargetTraining(tiny, steps=1).train(pool, LABELS, tmp_path / "other")
        proxy = Proxy(str(tmp_path / "other"))
    elif change == "unfinished":
        (tmp_path / "warm_up.json").unlink()
    else:
        (tmp_path / "warm_up.json").write_text("{")
    again.fit(proxy, pool, labels, tmp_path)
    assert len(runs) == 2
    again.fit(proxy, pool, labels, tmp_path)
    assert len(runs) == 2


def test_a_warm_up_that_fails_is_not_taken_for_finished(
    tiny: str, pool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAST.fit(Proxy(tiny), pool, LABELS, tmp_path)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(warm_up, "run_sft", fail)
        with pytest.raises(KeyboardInterrupt):
            replace(FAST, seed=9).fit(Proxy(tiny), pool, LABELS, tmp_path)
    assert not (tmp_path / "warm_up.json").exists()
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(KeyboardInterrupt):
            FAST.fit(Proxy(tiny), pool, LABELS, tmp_path)
    assert not (tmp_path / "warm_up.json").exists()


def test_of_a_proxy_with_an_adapter_the_adapter_is_tuned(tiny: str, pool: Any, tmp_path: Path) -> None:
    start = TargetTraining(tiny, method="lora", steps=1, lora={"r": 2}).train(pool, LABELS, tmp_path / "start").folder
    proxy = Proxy(tiny, adapter=start, trainable="lora")
    warmed = FAST.fit(proxy, pool, LABELS, tmp_path / "warm")
    assert warmed.proxy == replace(proxy, adapter=str(tmp_path / "warm"))
    assert weights(start).keys() == weights(tmp_path / "warm").keys()
    assert not same_weights(start, tmp_path / "warm")
    assert warmed.proxy.load(LABELS).parameters
    with pytest.raises(BadRecipe, match=r"`proxy.model` is .*, an adapter. Name its base model"):
        FAST.fit(Proxy(start), pool, LABELS, tmp_path / "no")


def test_bad_fields_are_listed_at_once() -> None:
    with pytest.raises(BadRecipe) as caught:
        WarmUp(
            fraction=1.5, epochs=0, steps=-1, learning_rate=0, batch_size=0, sft={"max_steps": 1, "learning_rate": 1}
        )
    lines = str(caught.value).splitlines()
    assert len(lines) == 7
    assert lines[0] == "`fraction` is 1.5, expected 0 (no warm-up) to 1."
    assert lines[5] == "`sft` has 'max_steps': set `steps`."


def test_unknown_keys_are_refused(tiny: str, pool: Any, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="'warmup_step', expected a field of SFTConfig, did you mean 'warmup_steps'"):
        replace(FAST, sft={"warmup_step": 1}).fit(Proxy(tiny), pool, LABELS, tmp_path)
