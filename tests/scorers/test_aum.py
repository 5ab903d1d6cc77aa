"""AUM: a worked case, and the definition written out."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_datasel import AUM, Labels, Proxy
from hf_datasel.proxy.figures import read_figures
from hf_datasel.rows.labels import IGNORED, prepare_tokenizer, token_row


@pytest.mark.parametrize(("target", "probability", "ratio"), [(0, 0.3, 0.6 / 0.3), (1, -0.3, 0.3 / 0.6)])
def test_known_answers(target, probability, ratio):
    logits = torch.tensor([[0.6, 0.3, 0.1]]).log() + 5
    figures = read_figures(logits, torch.tensor([target]), ("aum", "probability_margin"))[0]
    assert figures["probability_margin"].tolist() == pytest.approx([probability], abs=1e-6)
    assert figures["aum"].tolist() == pytest.approx([math.log(ratio)], abs=1e-6)


@pytest.mark.parametrize("margin", ["probability", "logit"])
def test_it_is_the_mean_margin_over_the_targets(tiny_model, pool, margin):
    labels = Labels(max_length=512)
    found = AUM(Proxy(tiny_model), margin=margin, labels=labels)(pool[:3])
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = prepare_tokenizer(Proxy(tiny_model).load(labels).tokenizer, labels)
    for index, row in enumerate(pool.select(range(3))):
        tokens = token_row(row, tokenizer, labels)
        with torch.no_grad():
            values = model(input_ids=torch.tensor([tokens.input_ids])).logits[0].double()
        values = values.softmax(-1) if margin == "probability" else values
        margins = []
        for place, label in enumerate(tokens.labels[1:]):
            if label != IGNORED:
                others = [value for token, value in enumerate(values[place].tolist()) if token != label]
                margins.append(float(values[place, label]) - max(others))
        assert found["high_aum"][index] == pytest.approx(sum(margins) / len(margins), rel=1e-4)


def test_the_end_to_keep_is_the_sign(tiny_model, pool):
    low, high = (AUM(Proxy(tiny_model), keep=keep)(pool[:4]) for keep in ("low", "high"))
    assert low["low_aum"].tolist() == (-high["high_aum"]).tolist() == (-low["aum"]).tolist()


def test_other_options_are_refused(tiny_model):
    with pytest.raises(ValueError, match=r"`keep` is .middle., expected .high. or .low."):
        AUM(Proxy(tiny_model), keep="middle")
    with pytest.raises(ValueError, match=r"`margin` is .loss., expected .probability. or .logit."):
        AUM(Proxy(tiny_model), margin="loss")
