"""Votes of tasks, by hand."""

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import ICONS
from hf_datasel.selectors.icons import ballots


def pool(rows, ids="abcd"):
    columns = {f"task_{task}": [row[task] for row in rows] for task in range(3)}
    return Dataset.from_dict({"row_id": list(ids), **columns})


NAMES = ("task_0", "task_1", "task_2")
CLEAR = [(0.9, 0.7, 0.9), (0.8, 0.1, 0.6), (0.1, 0.9, 0.2), (0.2, 0.3, 0.1)]
TIED = [(0.9, 0.7, 0.2), (0.8, 0.1, 0.6), (0.1, 0.9, 0.8), (0.2, 0.3, 0.1)]


def test_votes_of_half_of_the_rows():
    assert ballots(np.array(CLEAR), 0.5)[0].tolist() == [3, 2, 1, 0]
    assert ballots(np.array(TIED), 0.5)[0].tolist() == [2, 2, 2, 0]
    assert ICONS(NAMES, 1.0, vote_fraction=0.5).rank(pool(CLEAR)).tolist() == [0, 1, 2, 3]


def test_a_row_at_the_percentile_has_the_vote():
    # Of five rows the median is the third's own number.
    assert ballots(np.array([[0.5], [0.4], [0.3], [0.2], [0.1]]), 0.5)[0].tolist() == [1, 1, 1, 0, 0]
    assert ballots(np.array([[0.3], [0.3], [0.3], [0.1], [0.1]]), 0.5)[0].tolist() == [1, 1, 1, 0, 0]


def test_ties_by_mean_percentile_then_id():
    # Places from below: row 0 has 3, 2, 1; row 1 has 2, 0, 2; row 2 has 0, 3, 3: six, four, six.
    assert ICONS(NAMES, 1.0, vote_fraction=0.5).rank(pool(TIED)).tolist() == [0, 2, 1, 3]
    assert ICONS(NAMES, 1.0, vote_fraction=0.5).rank(pool(TIED, ids="zbca")).tolist() == [2, 0, 1, 3]


def test_the_scale_of_a_task_does_not_matter():
    scaled = [(row[0] * 1000 - 7, row[1], row[2] / 50) for row in TIED]
    assert ICONS(NAMES, 0.5).rank(pool(scaled)).tolist() == ICONS(NAMES, 0.5).rank(pool(TIED)).tolist()


def test_a_row_that_lacks_a_task_has_no_vote_and_counts_for_no_percentile():
    rows = [(0.99, 0.99, float("nan")), *CLEAR[1:]]
    assert 0 not in ICONS(NAMES, 1.0).rank(pool(rows)).tolist()
    with pytest.raises(BadBudget, match="of which each of 4 rows lacks one"):
        ICONS(NAMES, 0.5).rank(pool([(0.1, 0.2, None)] * 4))


def test_what_is_no_list_of_columns_is_refused():
    with pytest.raises(BadBudget, match="`columns` is 'task_0', expected"):
        ICONS("task_0", 0.5)
    with pytest.raises(BadBudget, match="`vote_fraction` is 20"):
        ICONS(NAMES, 0.5, vote_fraction=20)
    with pytest.raises(BadBudget, match="`columns` is 'task_9', expected a column"):
        ICONS(("task_9",), 0.5).rank(pool(CLEAR))
