"""A Selection: what it says about itself, filters by, stores, binds to and compares with."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, Image

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget, BadRow, DataselError
from hf_datasel.rows.identity import row_digest
from hf_datasel.selectors import AboveThreshold, Full, Random, Selection, SelectionDiff, TopCount, TopFraction, select
from hf_datasel.selectors.comparison import rank_correlation


NAN = float("nan")
SCORES = [0.1, NAN, 0.9, 0.5, 0.7, 0.3]
OnDisk = Callable[..., Dataset]


def pool_of_six() -> Dataset:
    return Dataset.from_dict({"row_id": list("abcdef"), "text": list("uvwxyz"), "s": SCORES})


# What it says


def test_kept_is_best_first_and_dropped_in_pool_order() -> None:
    selection = select(pool_of_six(), TopFraction("s", 0.5))
    assert selection.kept["row_id"][:] == selection.ids == ["c", "e", "d"]
    assert selection.dropped["row_id"][:] == ["a", "b", "f"]
    assert selection.kept.column_names == ["row_id", "text", "s"]
    assert (selection.num_rows, selection.num_kept, selection.num_not_scored) == (6, 3, 1)
    assert selection.threshold == 0.5


def test_it_says_what_it_is_in_one_line() -> None:
    assert repr(select(pool_of_six(), TopCount("s", 2))) == (
        "Selection(2 of 6 rows by TopCount(column='s', count=2), lowest kept score 0.7, 1 rows not scored)"
    )


def test_rows_get_ids_from_their_content_and_copies_stay_apart() -> None:
    pool = Dataset.from_dict({"text": ["x", "y", "x"], "s": [1.0, 2.0, 1.0]})
    x, y = row_digest({"text": "x"}), row_digest({"text": "y"})
    assert select(pool, TopCount("s", 3)).ids == [y, x, f"{x}-1"]


def test_ids_are_texts_whatever_the_row_ids_are() -> None:
    selection = select(Dataset.from_dict({"row_id": [10, 9], "s": [1.0, 1.0]}), TopCount("s", 2))
    assert selection.ids == ["10", "9"]
    assert selection.kept["row_id"][:] == [10, 9]


def test_provenance_is_complete_and_plain() -> None:
    pool = pool_of_six()
    selection = select(pool, TopFraction("s", np.float64(0.5)), [{"scorer": "Perplexity", "layers": (1, 2)}])
    assert selection.rule == {"rule": "TopFraction", "column": "s", "fraction": 0.5, "drop_nonpositive": False}
    assert selection.scorers == ({"scorer": "Perplexity", "layers": [1, 2]},)
    assert selection.data["fingerprint"] == pool._fingerprint
    assert {"python", "hf_datasel", "datasets", "numpy", "pyarrow", "torch", "trl"} <= set(selection.versions)
    json.dumps([selection.rule, selection.scorers, selection.data, selection.versions])


def test_the_ids_digest_follows_the_set_of_rows_and_nothing_else() -> None:
    def digest(pool: Dataset) -> str:
        return select(pool, Full()).data["row_ids_digest"]

    pool = pool_of_six()
    assert digest(pool) == digest(pool.shuffle(seed=3)) == digest(pool.add_column("more", [0] * 6))
    assert digest(pool) != digest(pool.select(range(5)))
    assert digest(Dataset.from_dict({"row_id": ["a", "bc"]})) != digest(Dataset.from_dict({"row_id": ["ab", "c"]}))


def test_how_many_rows_have_no_score_is_a_warning_and_silence_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "hf_datasel"):
        select(pool_of_six().select([0, 2, 3]), TopCount("s", 1))
        assert not caplog.records
        select(pool_of_six(), TopCount("s", 1))
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 6 rows have no 's' score and cannot be kept. `s_status`, where there is one, says why."
    ]


def test_keeping_nothing_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    selection = select(pool_of_six().select([0]), AboveThreshold("s", 5.0))
    assert "keeps nothing" in caplog.text
    assert (len(selection.kept), len(selection.dropped), selection.threshold, selection.ids) == (0, 1, None, [])


# What it refuses


@dataclass(frozen=True)
class Broken:
    returns: Any = ()
    column: str = "s"

    def rank(self, scored: Dataset) -> Indices:
        return np.asarray(self.returns)


@dataclass(frozen=True)
class Opaque:
    helper: object = field(default_factory=object)

    def rank(self, scored: Dataset) -> Indices:
        return np.arange(1)


def test_a_rule_that_keeps_an_unscored_row_is_refused() -> None:
    with pytest.raises(BadBudget, match=r"`rule` Broken kept row 1, whose 's' is NaN\. Correct its `rank`"):
        select(pool_of_six(), Broken([0, 1]))


@pytest.mark.parametrize("ranking", [[0, 6], [0, 0]])
def test_a_rule_that_returns_no_ranking_is_refused(ranking: list[int]) -> None:
    with pytest.raises(BadBudget, match="`rule` Broken kept row"):
        select(pool_of_six(), Broken(ranking))


@pytest.mark.parametrize("rule", [TopCount, lambda scored: [0], "TopCount"])
def test_a_rule_that_is_no_dataclass_instance_is_refused(rule: Any) -> None:
    with pytest.raises(BadBudget, match=r"`rule` is .*, expected an instance of a frozen dataclass"):
        select(pool_of_six(), rule)


def test_fields_and_specs_without_a_json_form_are_refused() -> None:
    with pytest.raises(BadBudget, match=r"`rule` holds .*\(found a object\)"):
        select(pool_of_six(), Opaque())
    with pytest.raises(BadBudget, match=r"`scorer_specs` holds .*\(found a Path|found a PosixPath\)"):
        select(pool_of_six(), Full(), [{"path": Path("x")}])


def test_several_splits_are_refused() -> None:
    with pytest.raises(BadBudget, match=r"`scored` is a DatasetDict, expected one `datasets\.Dataset`"):
        select(DatasetDict(train=pool_of_six()), Full())


def test_repeated_row_ids_are_refused() -> None:
    with pytest.raises(BadRow, match="names 1 values more than once"):
        select(Dataset.from_dict({"row_id": ["a", "a"], "s": [1.0, 2.0]}), TopCount("s", 1))


# What it filters


def many(num_rows: int = 2500) -> Dataset:
    return Dataset.from_dict(
        {"text": [f"row {i}" for i in range(num_rows)], "s": [float(i * 7919 % 101) for i in range(num_rows)]}
    )


@pytest.mark.parametrize("num_proc", [None, 2])
def test_filter_gives_the_kept_rows_in_pool_order(on_disk: OnDisk, num_proc: int | None) -> None:
    scored = on_disk(many())
    selection = select(scored, TopFraction("s", 0.3))
    filtered = scored.filter(selection, with_indices=True, batched=True, batch_size=100, num_proc=num_proc)
    kept = set(selection.kept["text"])
    assert filtered["text"][:] == [text for text in scored["text"] if text in kept]
    assert len(filtered) == 750


def test_filter_row_by_row_gives_the_same(on_disk: OnDisk) -> None:
    scored = on_disk(many(50))
    selection = select(scored, TopFraction("s", 0.3))
    by_row = scored.filter(selection, with_indices=True)
    assert by_row["text"][:] == scored.filter(selection, with_indices=True, batched=True)["text"][:]
    assert len(by_row) == 15


@pytest.mark.parametrize("style", [None, "numpy", "arrow", "torch"])
def test_filter_works_in_any_format(style: str | None) -> None:
    pool = Dataset.from_dict({"row_id": [30, 10, 20], "s": [1.0, 3.0, 2.0]})
    selection = select(pool, TopCount("s", 2))
    if style == "torch":
        pytest.importorskip("torch")
    filtered = pool.with_format(style).filter(selection, with_indices=True, batched=True)
    assert filtered.with_format(None)["row_id"][:] == [10, 20]


def test_filter_does_not_decode_images() -> None:
    broken_image = {"bytes": b"not an image", "path": None}
    pool = Dataset.from_dict({"text": ["a", "b"], "image": [broken_image] * 2, "s": [1.0, 2.0]})
    pool = pool.cast_column("image", Image())
    selection = select(pool, TopCount("s", 1))
    filtered = pool.filter(selection, with_indices=True, batched=True)
    assert filtered.select_columns(["text"])["text"][:] == ["b"]


FILTERED_FINGERPRINT = (
    "import sys; from datasets import load_from_disk; from hf_datasel.selectors import TopFraction, select\n"
    "scored = load_from_disk(sys.argv[1])\n"
    "selection = select(scored, TopFraction('s', 0.3))\n"
    "print(scored.filter(selection, with_indices=True, batched=True)._fingerprint)"
)


def test_the_filter_fingerprint_is_the_same_in_fresh_processes(
    on_disk: OnDisk, tmp_path: Path, in_new_process: Callable[..., str]
) -> None:
    scored = on_disk(many(300))
    path = str(tmp_path / "pool")
    here = scored.filter(select(scored, TopFraction("s", 0.3)), with_indices=True, batched=True)._fingerprint
    assert in_new_process(FILTERED_FINGERPRINT, path, hash_seed=1) == here
    assert in_new_process(FILTERED_FINGERPRINT, path, hash_seed=2) == here
    other = scored.filter(select(scored, TopFraction("s", 0.31)), with_indices=True, batched=True)._fingerprint
    assert other != here


def test_using_a_selection_does_not_change_its_pickle() -> None:
    selection = select(pool_of_six(), TopCount("s", 2))
    before = pickle.dumps(selection)
    _ = selection.kept, selection.dropped, selection.ids, repr(selection)
    pool_of_six().filter(selection, with_indices=True, batched=True)
    assert pickle.dumps(selection) == before


def test_the_pickle_is_small_and_holds_no_pool() -> None:
    wide = Dataset.from_dict({"row_id": list(range(1000)), "text": ["x" * 1000] * 1000, "s": list(range(1000))})
    assert len(pickle.dumps(select(wide, TopCount("s", 10)))) < 6000


def test_a_pickled_selection_filters_and_says_what_it_cannot() -> None:
    selection = pickle.loads(pickle.dumps(select(pool_of_six(), TopCount("s", 2))))  # noqa: S301
    assert pool_of_six().filter(selection, with_indices=True, batched=True)["row_id"][:] == ["c", "e"]
    assert repr(selection) == "Selection(2 of 6 rows, pickled: for filtering only)"
    for name in ("kept", "ids", "rule", "threshold", "num_kept"):
        with pytest.raises(AttributeError, match=r"this Selection was pickled.*Selection\.load"):
            getattr(selection, name)


def test_a_misspelt_attribute_is_an_ordinary_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'Selection' object has no attribute 'keep'"):
        select(pool_of_six(), Full()).keep  # noqa: B018


def test_copies_are_the_selection_itself() -> None:
    selection = select(pool_of_six(), TopCount("s", 2))
    assert copy.copy(selection) is copy.deepcopy(selection) is selection


def test_a_longer_dataset_is_refused() -> None:
    selection = select(pool_of_six().select(range(4)), TopCount("s", 2))
    with pytest.raises(DataselError, match=r"`indices` reaches row 5, expected less than 4.*apply"):
        selection({"text": list("uvwxyz")}, range(6))


def test_a_dataset_with_other_rows_or_another_order_is_refused() -> None:
    selection = select(pool_of_six(), TopCount("s", 2))
    with pytest.raises(DataselError, match="`row_id` of row 0 is 'f', expected the id this row had"):
        pool_of_six().select([5, 1, 2, 3, 4, 0]).filter(selection, with_indices=True, batched=True)
    with pytest.raises(DataselError, match="`row_id` of row 3 is 'e'"):
        selection({"row_id": "e"}, 3)


def test_a_forgotten_with_indices_is_explained() -> None:
    with pytest.raises(DataselError, match=r"`indices` is missing.*with_indices=True, batched=True"):
        pool_of_six().filter(select(pool_of_six(), TopCount("s", 2)), batched=True)


# What it stores


def test_saved_files_say_everything(tmp_path: Path) -> None:
    select(pool_of_six(), TopFraction("s", 0.5), [{"scorer": "S"}]).save(tmp_path / "selection")
    assert sorted(os.listdir(tmp_path / "selection")) == ["rows.parquet", "selection.json"]
    rows = pq.read_table(tmp_path / "selection" / "rows.parquet").to_pydict()
    assert rows == {
        "row_id": list("abcdef"),
        "score": [0.1, None, 0.9, 0.5, 0.7, 0.3],
        "rank": [None, None, 1, 3, 2, None],
    }
    manifest = json.loads((tmp_path / "selection" / "selection.json").read_text())
    assert manifest["rule"] == {"rule": "TopFraction", "column": "s", "fraction": 0.5, "drop_nonpositive": False}
    assert manifest["counts"] == {"rows": 6, "kept": 3, "dropped": 3, "not_scored": 1}
    assert manifest["threshold"] == 0.5
    assert manifest["scorers"] == [{"scorer": "S"}]


def test_loading_without_the_pool_gives_everything_but_rows(tmp_path: Path) -> None:
    saved = select(pool_of_six(), TopFraction("s", 0.5), [{"scorer": "S"}])
    loaded = Selection.load(saved.save(tmp_path / "nested" / "folder"))
    for name in ("ids", "rule", "scorers", "data", "versions", "threshold", "num_rows", "num_not_scored"):
        assert getattr(loaded, name) == getattr(saved, name), name
    np.testing.assert_array_equal(loaded.scores, saved.scores)
    assert loaded.indices.tolist() == saved.indices.tolist()
    assert repr(loaded) == repr(saved)
    for name in ("kept", "dropped"):
        with pytest.raises(DataselError, match=rf"`{name}` needs the rows, .* Call `selection\.apply\(pool\)`"):
            getattr(loaded, name)


def test_a_loaded_selection_filters_and_saves_like_the_one_saved(tmp_path: Path) -> None:
    loaded = Selection.load(select(pool_of_six(), TopCount("s", 2)).save(tmp_path / "one"))
    assert pool_of_six().filter(loaded, with_indices=True, batched=True)["row_id"][:] == ["c", "e"]
    loaded.save(tmp_path / "two")
    for name in ("rows.parquet", "selection.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_rule_without_a_score_and_an_empty_selection_survive(tmp_path: Path) -> None:
    pool = pool_of_six()
    for number, rule in enumerate((Random(0.5, seed=1), AboveThreshold("s", 9.0))):
        saved = select(pool, rule)
        loaded = Selection.load(saved.save(tmp_path / str(number)), pool=pool)
        assert loaded.ids == saved.ids
        assert loaded.threshold is None
        assert loaded.kept["row_id"][:] == saved.kept["row_id"][:]


def test_saving_again_replaces_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    select(pool_of_six(), TopCount("s", 2)).save(tmp_path)
    select(pool_of_six(), TopCount("s", 3)).save(tmp_path)
    assert Selection.load(tmp_path).ids == ["c", "e", "d"]
    assert sorted(os.listdir(tmp_path)) == ["rows.parquet", "selection.json"]


def test_an_interrupted_save_is_noticed_and_leaves_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    select(pool_of_six(), TopCount("s", 2)).save(tmp_path)
    whole = {name: (tmp_path / name).read_bytes() for name in ("rows.parquet", "selection.json")}

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("os.replace", killed)
        select(pool_of_six(), TopCount("s", 3)).save(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == whole

    select(pool_of_six(), TopCount("s", 3)).save(tmp_path)
    (tmp_path / "selection.json").write_bytes(whole["selection.json"])
    with pytest.raises(DataselError, match=r"holds a rows\.parquet that its selection\.json was not written with"):
        Selection.load(tmp_path)


def test_a_folder_that_holds_none_or_a_later_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataselError, match=r"`folder` is .*, which has no selection\.json, expected a folder"):
        Selection.load(tmp_path / "nowhere")
    select(pool_of_six(), Full()).save(tmp_path)
    manifest = json.loads((tmp_path / "selection.json").read_text())
    (tmp_path / "selection.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(DataselError, match=r"a selection of format 99, expected 1\. Load it with .*'hf_datasel'"):
        Selection.load(tmp_path)


# What it binds to


def test_a_selection_binds_to_the_same_rows_in_another_order(on_disk: OnDisk, tmp_path: Path) -> None:
    saved = select(on_disk(many(300)), TopFraction("s", 0.2))
    shuffled = many(300).shuffle(seed=5).add_column("more", list(range(300)))
    bound = Selection.load(saved.save(tmp_path / "selection"), pool=shuffled)
    assert bound.ids == saved.ids
    assert bound.kept["text"][:] == saved.kept["text"][:]
    assert set(bound.dropped["text"]) == set(saved.dropped["text"])
    assert "more" in bound.kept.column_names
    assert bound.threshold == saved.threshold
    assert bound.data == saved.data
    filtered = shuffled.filter(bound, with_indices=True, batched=True)
    assert set(filtered["text"]) == set(saved.kept["text"])


def test_missing_rows_are_counted_and_named() -> None:
    selection = select(pool_of_six(), TopCount("s", 2))
    with pytest.raises(
        DataselError, match=r"`pool` lacks 2 of the 6 rows .* \(first ids: \['a', 'f'\]\), expected all of them"
    ):
        selection.apply(pool_of_six().select([1, 2, 3, 4]))


def test_rows_the_selection_never_saw_are_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    selection = select(pool_of_six().select([2, 3, 4]), TopCount("s", 2))
    bound = selection.apply(pool_of_six())
    assert "`pool` has 3 rows this selection never saw" in caplog.text
    assert bound.kept["row_id"][:] == ["c", "e"]
    assert bound.dropped["row_id"][:] == ["a", "b", "d", "f"]
    np.testing.assert_array_equal(bound.scores, [NAN, NAN, 0.9, 0.5, 0.7, NAN])


# How it compares


def selection_of(ids: str, scores: list[float], count: int) -> Selection:
    return select(Dataset.from_dict({"row_id": list(ids), "s": scores}), TopCount("s", count))


def test_a_diff_worked_out_by_hand() -> None:
    here = selection_of("abcdef", [6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 4)  # keeps a b c d
    there = selection_of("fedcba", [1.0, 9.0, 3.0, 8.0, 2.0, 7.0], 3)  # keeps e c a
    diff = here.diff(there)
    assert (diff.num_common, diff.only_here, diff.only_there) == (2, ("b", "d"), ("e",))
    assert diff.overlap == pytest.approx(2 / 3)
    assert diff.jaccard == pytest.approx(2 / 5)
    # Ranks here 6 5 4 3 2 1, there (a..f) 4 2 5 3 6 1: squared differences 4 9 1 0 16 0.
    assert diff.rank_correlation == pytest.approx(1 - 6 * 30 / (6 * 35))
    assert str(diff) == (
        "2 rows in common (overlap 0.67, Jaccard 0.40), 2 only here, 1 only there, rank correlation of scores 0.14"
    )


def test_a_diff_is_symmetric_and_exact_with_itself() -> None:
    here, there = select(pool_of_six(), TopCount("s", 2)), select(pool_of_six(), Random(0.5, seed=4))
    back, forth = here.diff(there), there.diff(here)
    assert (back.only_here, back.only_there, back.overlap) == (forth.only_there, forth.only_here, forth.overlap)
    assert here.diff(here) == SelectionDiff(2, 1.0, 1.0, 1.0, (), ())


def test_rows_scored_in_one_pool_only_do_not_count_for_the_correlation() -> None:
    here = selection_of("abcde", [1.0, 2.0, 3.0, NAN, 9.0], 1)
    there = selection_of("abcdx", [30.0, 20.0, 10.0, 99.0, 0.0], 1)
    assert here.diff(there).rank_correlation == -1.0


def test_where_there_is_nothing_to_compare_the_numbers_are_nan_not_made_up() -> None:
    empty = select(pool_of_six(), AboveThreshold("s", 9.0))
    diff = empty.diff(select(pool_of_six(), Random(0.5)))
    assert math.isnan(diff.overlap)
    assert diff.jaccard == 0.0
    assert math.isnan(diff.rank_correlation)
    assert str(diff).endswith("rank correlation of scores not defined")
    assert math.isnan(empty.diff(empty).jaccard)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], 4.5 / math.sqrt(4.5 * 5)),  # average rank 2.5 for the tie
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], -1.0),
        ([1.0, 1.0], [1.0, 2.0], NAN),
        ([1.0], [1.0], NAN),
        ([], [], NAN),
        ([NAN, 1.0, 2.0], [5.0, float("-inf"), float("inf")], 1.0),
        ([1.0, 2.0, 3.0], [NAN, 2.0, 3.0], 1.0),
    ],
)
@pytest.mark.filterwarnings("error")
def test_spearman_by_hand(a: list[float], b: list[float], expected: float) -> None:
    assert rank_correlation(np.array(a), np.array(b)) == pytest.approx(expected, nan_ok=True)


def test_spearman_agrees_with_scipy_on_tied_scores() -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(0)
    a, b = draw.integers(0, 9, 200).astype(float), draw.integers(0, 30, 200).astype(float)
    assert rank_correlation(a, b + a) == pytest.approx(stats.spearmanr(a, b + a).statistic, abs=1e-12)


# What it costs to import


def test_rules_load_without_torch(in_new_process: Callable[..., str]) -> None:
    code = (
        "import sys; import hf_datasel.selectors\n"
        "print([name for name in ('torch', 'transformers', 'trl', 'datasets') if name in sys.modules])"
    )
    assert in_new_process(code) == "[]"
