"""Predictive strength: the sheet's worked case, and losses per character from transformers' own."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_datasel import Labels, PredictiveStrength, Proxy
from hf_datasel.proxy.proxy import encode
from hf_datasel.scorers.predictive_strength import predictive_strength

from ..raters import save_weaker


LABELS = Labels(max_length=512)


def test_known_answer():
    losses = np.array([[1.2, 1.0, 1.1], [3.0, 2.0, 1.0], [1.0, 1.0, 1.0], [1.0, np.nan, 1.0]])
    assert predictive_strength(losses, [1, 2, 3]) == pytest.approx([2 / 3, 1.0, 0.0, np.nan], nan_ok=True)
    assert predictive_strength(losses[:1], [3, 2, 1]) == pytest.approx([1 / 3]), (
        "the order of the models is the benchmark's"
    )
    assert predictive_strength(losses[:1], [1, 1, 2]) == pytest.approx([1 / 2]), "equal scores make no pair"


def test_losses_are_bits_per_character_of_the_answer(tiny_model, pool):
    weaker = save_weaker(tiny_model)
    found = PredictiveStrength([Proxy(tiny_model), Proxy(weaker)], (2, 1), LABELS)(pool[:4])
    for index, row in enumerate(pool.select(range(4))):
        bits = []
        for folder in (tiny_model, weaker):
            tokens = encode(row, Proxy(folder).load(LABELS), LABELS)
            with torch.no_grad():
                loss = AutoModelForCausalLM.from_pretrained(folder)(
                    input_ids=torch.tensor([tokens.input_ids]), labels=torch.tensor([tokens.labels])
                ).loss
            bits.append(float(loss) * tokens.num_targets / math.log(2) / len(row["completion"]))
        assert found["bits_per_character"][index] == pytest.approx(bits, rel=1e-5)
        assert found["predictive_strength"][index] == float(bits[1] > bits[0])


def test_a_row_that_a_model_would_cut_is_not_scored(tiny_model):
    rows = {"prompt": ["Why?"] * 3, "completion": ["So.", "one two three " * 30, ""]}
    found = PredictiveStrength([Proxy(tiny_model), Proxy(save_weaker(tiny_model))], (2, 1), Labels(max_length=64))(
        rows
    )
    assert found["predictive_strength_status"] == ["ok", "truncated", "empty_completion"]
    assert np.isnan(found["predictive_strength"]).tolist() == [False, True, True]


@pytest.mark.parametrize(("count", "benchmark"), [(1, (1,)), (2, (1,)), (2, (1, 1))])
def test_models_and_scores_must_fit(count, benchmark):
    with pytest.raises(ValueError, match=f"`models` are {count} and `benchmark` is"):
        PredictiveStrength([Proxy("m")] * count, benchmark)
