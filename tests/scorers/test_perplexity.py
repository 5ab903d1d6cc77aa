"""Perplexity against the loss that transformers itself computes."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_datasel import Labels, Perplexity, Proxy
from hf_datasel.rows.labels import IGNORED, prepare_tokenizer, token_row


def test_it_is_the_mean_loss_of_the_targets(tiny_model, pool):
    proxy, labels = Proxy(tiny_model), Labels(max_length=512)
    found = Perplexity(proxy, labels=labels)(pool[:6])
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = prepare_tokenizer(proxy.load(labels).tokenizer, labels)
    for index, row in enumerate(pool.select(range(6))):
        tokens = token_row(row, tokenizer, labels)
        ids, targets = torch.tensor([tokens.input_ids]), torch.tensor([tokens.labels])
        with torch.no_grad():
            loss = float(model(input_ids=ids, labels=targets).loss)
        assert found["row_loss"][index] == pytest.approx(loss, rel=1e-5)
        assert found["perplexity"][index] == pytest.approx(math.exp(loss), rel=1e-4)
        # Only the completion counts: the prompt is no target.
        assert sum(label != IGNORED for label in tokens.labels) < len(tokens.labels)


def test_the_end_to_keep_is_the_sign(tiny_model, pool):
    low = Perplexity(Proxy(tiny_model))(pool[:4])
    high = Perplexity(Proxy(tiny_model), keep="high")(pool[:4])
    assert low["low_perplexity"].tolist() == (-high["high_perplexity"]).tolist() == (-low["row_loss"]).tolist()


def test_another_end_is_refused(tiny_model):
    with pytest.raises(ValueError, match=r"`keep` is .middle., expected .low. or .high.\. For the middle"):
        Perplexity(Proxy(tiny_model), keep="middle")
