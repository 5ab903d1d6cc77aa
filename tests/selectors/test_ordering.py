"""What every score-based rule relies on: order, ties, missing scores, messages."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from datasets import Dataset, concatenate_datasets

from hf_datasel.errors import BadBudget, BadRow
from hf_datasel.rows.identity import row_digest
from hf_datasel.selectors.columns import read_groups, read_numbers, read_row_ids
from hf_datasel.selectors.ordering import as_ranking, best_first, place_within


def test_equal_scores_are_ordered_by_row_id_within_their_run_only() -> None:
    scored = Dataset.from_dict({"row_id": list("dzbayc"), "s": [2.0, 9.0, 2.0, 1.0, 2.0, 1.0]})
    assert [scored["row_id"][row] for row in best_first(scored, "s")] == ["z", "b", "d", "y", "a", "c"]


def test_without_row_ids_ties_break_by_content_and_copies_by_row_number() -> None:
    texts = ["p", "q", "r", "q", "p"]
    scored = Dataset.from_dict({"text": texts, "s": [1.0] * 5})
    expected = sorted(range(5), key=lambda row: (row_digest({"text": texts[row]}), row))
    assert best_first(scored, "s").tolist() == expected


def test_ties_of_rows_nothing_can_tell_apart_break_by_row_number() -> None:
    assert best_first(Dataset.from_dict({"s": [1.0, 2.0, 1.0, 2.0]}), "s").tolist() == [1, 3, 0, 2]


def test_content_is_read_for_tied_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(
        "hf_datasel.selectors.columns.row_digest", lambda row: read.append(row["text"]) or row_digest(row)
    )
    best_first(Dataset.from_dict({"text": list("abcd"), "s": [4.0, 1.0, 3.0, 1.0]}), "s")
    assert sorted(read) == ["b", "d"]


def test_equal_scores_that_are_not_neighbours_in_the_pool_agree_with_plain_python() -> None:
    draw = random.Random(0)  # noqa: S311
    scores = [draw.choice([0.0, -0.0, 1.5, -2.0, float("inf"), float("-inf"), float("nan")]) for _ in range(500)]
    ids = [f"{draw.random():.12f}" for _ in scores]
    expected = sorted((row for row in range(500) if scores[row] == scores[row]), key=lambda r: (-scores[r], ids[r]))
    assert best_first(Dataset.from_dict({"row_id": ids, "s": scores}), "s").tolist() == expected


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32, np.float16])
def test_any_numeric_column_is_a_score(dtype: type) -> None:
    assert best_first(Dataset.from_dict({"s": np.array([1, 3, 2], dtype=dtype)}), "s").tolist() == [1, 2, 0]


def test_booleans_count_as_0_and_1_and_missing_values_as_not_scored() -> None:
    np.testing.assert_array_equal(read_numbers(Dataset.from_dict({"s": [True, None, False]}), "s"), [1, np.nan, 0])


def test_an_indices_mapping_and_several_chunks_are_followed(on_disk: Callable[..., Dataset]) -> None:
    first = on_disk(Dataset.from_dict({"s": [1, 2, 3]}), "first")
    second = on_disk(Dataset.from_dict({"s": [4, 5, 6]}), "second")
    mixed = concatenate_datasets([first, second]).select([5, 0, 3, 3])
    assert read_numbers(mixed, "s").tolist() == [6, 1, 4, 4]


def test_a_format_or_transform_does_not_reach_the_rules() -> None:
    scored = Dataset.from_dict({"text": ["a", "b", "c"], "s": [1.0, 1.0, 2.0]})
    plain = best_first(scored, "s").tolist()
    assert best_first(scored.with_format("numpy"), "s").tolist() == plain
    assert best_first(scored.with_transform(lambda batch: {"s": [0.0] * len(batch["s"])}), "s").tolist() == plain


def test_a_missing_column_names_the_ones_there_are() -> None:
    with pytest.raises(BadBudget, match=r"`column` is 'utilty', expected .* which has: 'text', 'utility'\. Correct"):
        best_first(Dataset.from_dict({"text": ["a"], "utility": [0.5]}), "utilty")


def test_a_column_of_texts_is_refused() -> None:
    with pytest.raises(BadBudget, match=r"`column` is 's', which holds values of type (large_)?string, expected num"):
        best_first(Dataset.from_dict({"s": ["0.5"]}), "s")


def test_a_pool_without_rows_is_refused() -> None:
    with pytest.raises(BadBudget, match="`scored` has no rows, expected at least one"):
        best_first(Dataset.from_dict({"s": []}), "s")


@pytest.mark.parametrize("scores", [[float("nan")] * 3, [None] * 3])
def test_a_pool_without_a_single_score_is_refused(scores: list[float | None]) -> None:
    with pytest.raises(BadBudget, match=rf"`column` is 's', which is NaN in all {len(scores)} rows.*`s_status`"):
        best_first(Dataset.from_dict({"s": scores}), "s")


def test_groups_are_numbered_by_name_whatever_comes_first() -> None:
    names = ["b", None, "a", "c", "a"]
    assert read_groups(Dataset.from_dict({"g": names}), "g", "group").tolist() == [1, 3, 0, 2, 0]
    assert read_groups(Dataset.from_dict({"g": [10, 9, 10]}), "g", "group").tolist() == [1, 0, 1]
    assert read_groups(Dataset.from_dict({"g": [True, False]}), "g", "group").tolist() == [1, 0]


@pytest.mark.parametrize("values", [[["a"], ["b"]], [{"x": 1}, {"x": 2}]])
def test_lists_and_records_name_no_group(values: list[object]) -> None:
    with pytest.raises(BadBudget, match=r"`group` is 'g', which holds values of type .*, expected one text or number"):
        read_groups(Dataset.from_dict({"g": values}), "g", "group")


def test_row_ids_must_be_there_unique_and_text_or_whole_numbers() -> None:
    with pytest.raises(BadRow, match=r"names 1 values more than once \(first: 'a'\)"):
        read_row_ids(Dataset.from_dict({"row_id": ["a", "b", "a"]}))
    with pytest.raises(BadRow, match="`row_id` is missing in 1 of 2 rows"):
        read_row_ids(Dataset.from_dict({"row_id": ["a", None]}))
    with pytest.raises(BadRow, match="`row_id` holds values of type double"):
        read_row_ids(Dataset.from_dict({"row_id": [0.5]}))
    with pytest.raises(BadRow, match=r"has the columns \['s'\], expected `row_id` or training content"):
        read_row_ids(Dataset.from_dict({"s": [0.5]}))


def test_place_within_counts_earlier_rows_of_the_same_group() -> None:
    assert place_within(np.array([2, 0, 2, 2, 0])).tolist() == [0, 0, 1, 2, 1]
    assert place_within(np.array([], dtype=np.int64)).tolist() == []


@pytest.mark.parametrize(
    ("ranking", "complaint"),
    [
        ([0, 3], "kept row 3, expected 0 to 2"),
        ([-1], "kept row -1, expected 0 to 2"),
        ([1, 0, 1], "kept row 1 more than once"),
        ([0.0, 1.0], r"returned a float64 array of shape \(2,\)"),
        ([True, False, True], r"returned a bool array of shape \(3,\)"),
        ([[0], [1]], r"returned a int64 array of shape \(2, 1\)"),
    ],
)
def test_what_is_no_ranking_is_refused(ranking: list[object], complaint: str) -> None:
    with pytest.raises(BadBudget, match=f"`rule` Broken {complaint}.* Correct its `rank`"):
        as_ranking(ranking, 3, "Broken")


def test_an_empty_ranking_is_one() -> None:
    assert as_ranking([], 3, "Strict").tolist() == []
