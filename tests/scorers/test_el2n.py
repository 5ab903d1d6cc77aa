"""EL2N: worked cases, and the definition written out."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_datasel import EL2N, Labels, Proxy
from hf_datasel.proxy.figures import read_figures
from hf_datasel.rows.labels import IGNORED, prepare_tokenizer, token_row


@pytest.mark.parametrize(
    ("logits", "expected"), [([0.0, 0.0], 0.5**0.5), ([200.0, 0.0], 0.0), ([0.0, 0.0, 0.0], (2 / 3) ** 0.5)]
)
def test_known_answers(logits, expected):
    figures = read_figures(torch.tensor([logits]), torch.tensor([0]), ("el2n",))[0]
    assert figures["el2n"].tolist() == pytest.approx([expected], abs=1e-7)


def test_it_is_the_mean_distance_over_the_targets(tiny_model, pool):
    labels = Labels(max_length=512)
    found = EL2N(Proxy(tiny_model), labels=labels)(pool[:3])
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = prepare_tokenizer(Proxy(tiny_model).load(labels).tokenizer, labels)
    for index, row in enumerate(pool.select(range(3))):
        tokens = token_row(row, tokenizer, labels)
        targets = torch.tensor(tokens.labels[1:])
        with torch.no_grad():
            gaps = model(input_ids=torch.tensor([tokens.input_ids])).logits[0, :-1].double().softmax(-1)
        gaps = gaps[targets != IGNORED]
        targets = targets[targets != IGNORED]
        gaps[torch.arange(len(targets)), targets] -= 1
        assert found["high_el2n"][index] == pytest.approx(float(gaps.norm(dim=-1).mean()), rel=1e-5)


def test_the_end_to_keep_is_the_sign(tiny_model, pool):
    low, high = (EL2N(Proxy(tiny_model), keep=keep)(pool[:4]) for keep in ("low", "high"))
    assert low["low_el2n"].tolist() == (-high["high_el2n"]).tolist() == (-low["el2n"]).tolist()
    with pytest.raises(ValueError, match=r"`keep` is .middle., expected .high. or .low."):
        EL2N(Proxy(tiny_model), keep="middle")
