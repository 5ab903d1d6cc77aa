"""Text indicators and their weighted sum: worked by hand."""

import numpy as np
import pytest

from hf_datasel import Indicator, LexicalDiversity, LogicalComplexity, WeightedSum
from hf_datasel.errors import BadRow
from hf_datasel.scorers.logical_complexity import reasoning_steps
from hf_datasel.scorers.weighted_sum import Reference, scaled


def batch(*answers):
    return {"prompt": ["?"] * len(answers), "completion": list(answers)}


@pytest.mark.parametrize(
    ("answer", "steps"),
    [
        ("She has 3 + 4 = <<3+4=7>>7 pens.\n#### 7", 3),  # two lines, one plus; the mark repeats it
        ("Half of 48 is 48/2 = 24. So 48+24 = 72.", 4),
        ("16 - (3 + 4) * $2", 4),
        ("A well-known two-thirds rule", 1),
        ("2 × 3 ÷ 4 − 1", 4),
        ("...", 0),
        ("", 0),
    ],
)
def test_steps_are_sentences_and_operators(answer, steps):
    assert reasoning_steps(answer) == steps
    found = LogicalComplexity()(batch(answer))
    assert found["logical_complexity"][0] == pytest.approx(np.log1p(steps) if steps else np.nan, nan_ok=True)
    assert found["logical_complexity_status"] == ["ok" if steps else "no_answer"]


def test_calculator_marks_count_alone_where_asked():
    found = LogicalComplexity("calculator_marks")(batch("<<1+1=2>> and <<2*2=4>>", "1 + 1 = 2", ""))
    assert found["logical_complexity"] == pytest.approx([np.log(3), np.nan, np.nan], nan_ok=True)
    assert found["logical_complexity_status"] == ["ok", "no_calculator_marks", "no_answer"]
    with pytest.raises(ValueError, match="`count` is 'words', expected one of"):
        LogicalComplexity("words")


def test_lexical_diversity_is_different_words_over_words():
    found = LexicalDiversity()(batch("The cat saw the cat", "one two", "?!"))
    assert found["lexical_diversity"] == pytest.approx([3 / 5, 1.0, np.nan], nan_ok=True)
    assert found["lexical_diversity_status"] == ["ok", "ok", "no_words"]


def reference(values, better="high"):
    return Reference.of(np.array(values, dtype=float), Indicator("x", better))


def test_ranks_ties_and_values_never_seen():
    ranks = scaled(np.array([10, 20, 30, 5, 99.0]), "high", reference([10, 20, 20, 30, 40]), "rank")
    # Ranks 0, 1.5, 3 of 0 to 4. Ends are cut at the first and last hundredth, so the largest keeps rank 4.
    assert ranks == pytest.approx([0.0, 0.375, 0.75, 0.0, 1.0])
    assert scaled(np.array([10, 40.0]), "low", reference([10, 20, 20, 30, 40], "low"), "rank") == pytest.approx([1, 0])


def test_the_middle_is_best_next_to_the_median():
    # Median 3, quartiles 2 and 4: a scale of 2 / 1.349.
    its = reference([1, 2, 3, 4, 5], "middle")
    assert (its.median, its.scale) == pytest.approx((3.0, 2 / 1.349))
    ranks = scaled(np.array([3, 2, 4, 5.0]), "middle", its, "rank")
    assert ranks[0] == 1.0 and ranks[1] == ranks[2] > ranks[3]


def test_a_weighted_sum_by_hand():
    parts = (Indicator("a"), Indicator("b", "low")), (0.6, 0.4), (reference([0, 1, 2]), reference([0, 1, 2], "low"))
    found = WeightedSum(*parts)({"a": [0, 1, 2, None, float("nan")], "b": [0, 1, 2, 0, None]})
    assert found["weighted_sum"] == pytest.approx([0.4, 0.5, 0.6, 0.7, np.nan], nan_ok=True)
    assert found["uniform_sum"] == pytest.approx([0.5, 0.5, 0.5, 0.75, np.nan], nan_ok=True)
    assert found["weighted_sum_status"] == ["ok", "ok", "ok", "partial: a", "no_indicators"]
    both = (
        (Indicator("a"), Indicator("a", "middle")),
        (0.5, 0.5),
        (reference([0, 1, 2]), reference([0, 1, 2], "middle")),
    )
    twice = WeightedSum(*both)
    assert twice.reads == ("a",) and twice({"a": [1, None]})["weighted_sum_status"] == ["ok", "no_indicators"]
    assert twice({"a": [1]})["weighted_sum"] == pytest.approx([(0.5 + 1.0) / 2])
    with pytest.raises(BadRow, match=r"`indicators` names \['b'\], expected columns among \['a'\]"):
        WeightedSum(*parts)({"a": [1]})
    with pytest.raises(ValueError, match="`weights` has 1 numbers for 2 indicators"):
        WeightedSum(parts[0], (1.0,), parts[2])
    with pytest.raises(ValueError, match="`better` is 'odd'"):
        Indicator("a", "odd")


def test_min_max_and_outliers():
    values = np.arange(201.0)
    values[-1] = 1e9
    found = scaled(np.array([0.0, 100.0, 1e9]), "high", reference(values), "min_max")
    assert found == pytest.approx([0.0, 0.5, 1.0], abs=0.01)  # one huge value does not squeeze the others


def test_ranks_do_not_tell_the_outermost_hundredths_apart():
    first, second, third, fourth = scaled(
        np.array([0.0, 2.0, 3.0, 200.0]), "high", reference(np.arange(201.0)), "rank"
    )
    assert first == second < third and fourth == 1 - first


def test_a_column_without_numbers_is_refused():
    with pytest.raises(BadRow, match="`x` is NaN in every row"):
        reference([np.nan, np.inf])
