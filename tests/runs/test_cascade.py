"""Two stages: the result is the full scorer's where it matters, and what is said about it is true."""

from dataclasses import dataclass

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import Labels, OneStepTrain, Proxy, TopFraction, cascade, score, select
from hf_datasel.errors import BadBudget, BadRow


@dataclass(frozen=True)
class Known:
    """A scorer that knows the scores by the number of the row, its prompt, and notes which rows it was asked about."""

    values: list
    asked: list
    columns = ("s", "s_status")

    def __call__(self, batch):
        numbers = [int(prompt) for prompt in batch["prompt"]]
        self.asked.extend(numbers)
        values = np.array([self.values[number] for number in numbers])
        return {"s": values, "s_status": ["ok" if np.isfinite(value) else "nan_loss" for value in values]}


def pool_with(noise, rows=2000, shift=0.0):
    draw = np.random.default_rng(0)
    truth = draw.normal(size=rows)
    rough = truth + shift + noise * draw.normal(size=rows)
    return Dataset.from_dict(
        {"row": range(rows), "prompt": [str(n) for n in range(rows)], "truth": truth, "guess": rough}
    )


def run(pool, **options):
    full = Known(pool["truth"][:], [])
    return cascade(pool, Known(pool["guess"][:], []), full, share=0.2, **options), full


def real_overlap(pool, found):
    kept = select(found.scored, TopFraction("s", 0.2)).kept["row"][:]
    best = np.argsort(-np.array(pool["truth"][:]))[: len(kept)]
    return len(set(kept) & set(best)) / len(kept)


@pytest.mark.parametrize(("noise", "least"), [(0.01, 32), (0.1, 100), (0.3, 500)])
def test_it_scores_in_full_what_the_noise_asks_for_and_keeps_its_promise(noise, least):
    pool = pool_with(noise)
    found, full = run(pool)
    assert least <= found.rows_in_full == len(full.asked) == len(set(full.asked)) < 2000
    assert found.noise == pytest.approx(noise, rel=0.3)
    assert found.expected_overlap >= 0.99
    assert real_overlap(pool, found) >= 0.99 - 0.005  # the promise is of an expectation: here two rows of 400


def test_what_it_says_of_the_rough_ranking_is_what_a_full_pass_shows():
    pool = pool_with(0.3)
    found, _ = run(pool)
    rough = set(np.argsort(-np.array(pool["guess"][:]))[:400]) & set(np.argsort(-np.array(pool["truth"][:]))[:400])
    assert found.measured_overlap == pytest.approx(len(rough) / 400, abs=0.01)


def test_a_rough_scorer_that_is_off_by_a_constant_moves_no_row():
    pool = pool_with(0.05, shift=-3.0)
    found, _ = run(pool)
    assert found.shift == pytest.approx(3.0, abs=0.05)
    assert real_overlap(pool, found) >= 0.985


def test_a_rough_scorer_that_knows_nothing_leaves_all_to_the_full_one():
    pool = pool_with(30.0, rows=300)
    found, _ = run(pool)
    assert found.rows_in_full == 300
    assert real_overlap(pool, found) == 1.0


def test_rows_without_a_score_have_none_whichever_stage_says_so():
    pool = pool_with(0.01, rows=300).to_dict()
    near = int(np.argsort(-np.array(pool["guess"]))[60])
    pool["truth"][near], pool["guess"][0] = float("nan"), float("nan")
    found, _ = run(Dataset.from_dict(pool))
    assert np.isnan(found.scored["s"][near]) and found.scored["s_status"][near] == "nan_loss"
    assert found.scored["s_stage"][near] == "full"
    assert found.scored["s"][0] == pool["truth"][0] and found.scored["s_stage"][0] == "full"


def test_a_rough_scorer_without_any_differences_or_for_few_rows_is_no_loss():
    pool = pool_with(0.01, rows=400)
    for guess in ([0.0] * 400, [float("nan")] * 380 + pool["guess"][380:]):
        found, _ = run(pool.remove_columns("guess").add_column("guess", guess))
        assert real_overlap(pool, found) >= 0.985
        assert 0 <= found.measured_overlap < 0.5


def test_bfloat16_and_then_exact_on_real_rows(tiny_model, anchors, real_rows):
    pool = Dataset.from_list(real_rows("pool.jsonl", 120).to_list())
    full = OneStepTrain(Proxy(tiny_model), anchors, labels=Labels(max_length=512))
    rough = OneStepTrain(Proxy(tiny_model), anchors, labels=Labels(max_length=512), engine="bfloat16")
    found = cascade(pool, rough, full, share=0.2)
    whole = score(pool, full)
    kept, expected = (
        set(select(its, TopFraction("ost_utility", 0.2)).kept["row_id"][:]) for its in (found.scored, whole)
    )
    assert kept == expected and found.rows_in_full < 120
    by_stage = dict(zip(found.scored["row_id"][:], found.scored["ost_utility_stage"][:], strict=True))
    for row, value in zip(whole["row_id"][:], whole["ost_utility"][:], strict=True):
        if by_stage[row] == "full":
            its = found.scored["ost_utility"][found.scored["row_id"][:].index(row)]
            assert its == pytest.approx(value, rel=1e-4)


def test_what_cannot_be_asked_for():
    pool = pool_with(0.1, rows=50)
    with pytest.raises(BadBudget, match="`share` is 20"):
        cascade(pool, Known(pool["guess"][:], []), Known(pool["truth"][:], []), share=20)
    other = Known(pool["truth"][:], [])
    object.__setattr__(other, "columns", ("t",))
    with pytest.raises(BadRow, match="`rough` writes 's' and `full` 't'"):
        cascade(pool, Known(pool["guess"][:], []), other, share=0.2)


def test_text_under_another_name_is_read():
    @dataclass(frozen=True)
    class StoryLength:
        labels: Labels = Labels(dataset_text_field="story")  # noqa: RUF009 (frozen)
        columns = ("s",)

        def __call__(self, batch):
            return {"s": np.array([float(len(text)) for text in batch["story"]])}

    pool = Dataset.from_dict({"text": ["?"] * 60, "story": ["x" * n for n in range(60)]})
    found = cascade(pool, StoryLength(), StoryLength(), share=0.1)
    assert found.scored["s"][:] == list(range(60))
