"""IFD: worked cases, and both losses as transformers computes them."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_datasel import IFD, Labels, Proxy
from hf_datasel.rows.labels import IGNORED, TokenRow, prepare_tokenizer, token_row
from hf_datasel.scorers.ifd import ratios, with_and_without_prompt


def test_known_answers():
    # Token probabilities: 1/2 after the prompt and 1/8 alone; 1/4 and 1/2; and an answer that is certain alone.
    loss_ratio, perplexity_ratio = ratios(np.log([2.0, 4.0, 2.0]), np.log([8.0, 2.0, 1.0]))
    assert loss_ratio[:2] == pytest.approx([1 / 3, 2.0])
    assert perplexity_ratio[:2] == pytest.approx([1 / 4, 2.0])
    assert np.isnan(loss_ratio[2]) and np.isnan(perplexity_ratio[2])


def test_the_two_ratios_do_not_rank_alike():
    loss_ratio, perplexity_ratio = ratios(np.array([0.1, 3.0]), np.array([0.5, 5.0]))
    assert np.argsort(loss_ratio).tolist() != np.argsort(perplexity_ratio).tolist()


def test_a_row_above_one_is_left_out_and_its_ratio_kept(tiny_model):
    rows = (["ok", "truncated", "ok", "ok"], np.log([2.0, 4.0, 2.0, np.nan]), np.log([8.0, 2.0, 1.0, 2.0]))
    found = IFD(Proxy(tiny_model))._columns(list(rows[0]), *rows[1:])
    assert found["ifd_loss_ratio_status"] == ["ok", "above_one", "certain_without_prompt", "nan_loss"]
    assert found["ifd_loss_ratio"] == pytest.approx([1 / 3, np.nan, np.nan, np.nan], nan_ok=True)
    assert found["loss_ratio"][1] == pytest.approx(2.0)
    kept = IFD(Proxy(tiny_model), ratio="perplexity", drop_above_one=False)._columns(list(rows[0]), *rows[1:])
    assert kept["ifd_perplexity_ratio"][:2] == pytest.approx([1 / 4, 2.0])
    assert kept["ifd_perplexity_ratio_status"][1] == "truncated"


def test_both_losses_are_of_the_same_tokens(tiny_model, pool):
    labels = Labels(max_length=512)
    found = IFD(Proxy(tiny_model), labels=labels)(pool[:4])
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = prepare_tokenizer(Proxy(tiny_model).load(labels).tokenizer, labels)
    for index, row in enumerate(pool.select(range(4))):
        tokens = token_row(row, tokenizer, labels)
        answer = [label for label in tokens.labels if label != IGNORED]
        with torch.no_grad():
            after = model(input_ids=torch.tensor([tokens.input_ids]), labels=torch.tensor([tokens.labels])).loss
            alone = torch.tensor([[tokenizer.bos_token_id, *answer]])
            alone = model(input_ids=alone, labels=torch.where(torch.arange(alone.shape[1]) < 1, IGNORED, alone)).loss
        assert found["ifd_row_loss"][index] == pytest.approx(float(after), rel=1e-5)
        assert found["ifd_answer_loss"][index] == pytest.approx(float(alone), rel=1e-5)
        assert found["loss_ratio"][index] == pytest.approx(float(after / alone), rel=1e-5)
        assert found["perplexity_ratio"][index] == pytest.approx(math.exp(after - alone), rel=1e-4)


def test_without_a_first_token_the_first_of_the_answer_counts_in_neither_loss():
    row = TokenRow((4, 5, 6, 7, 8), (-100, -100, 6, 7, 8), "ok")
    after, alone = with_and_without_prompt(row, bos=None)
    assert after.labels == (-100, -100, -100, 7, 8)
    assert (alone.input_ids, alone.labels) == ((6, 7, 8), (-100, 7, 8))
    assert with_and_without_prompt(TokenRow((4, 5), (-100, 5), "ok"), bos=None)[0].status == "no_labels"


@pytest.mark.parametrize(
    ("ids", "targets", "reason"),
    [
        ((1, 6, 7), (1, 6, 7), "no_prompt"),
        ((1, 6, 7), (-100, 6, 7), "no_prompt"),
        ((1, 5, 6, 7, 8), (-100, -100, 6, -100, 8), "several_answers"),
    ],
)
def test_rows_without_one_prompt_and_one_answer_are_not_scored(ids, targets, reason):
    after, alone = with_and_without_prompt(TokenRow(ids, targets, "ok"), bos=1)
    assert after.status == alone.status == reason


def test_plain_text_has_no_prompt(tiny_model):
    found = IFD(Proxy(tiny_model))({"text": ["Once upon a time"]})
    assert np.isnan(found["ifd_loss_ratio"][0]) and found["ifd_loss_ratio_status"] == ["no_prompt"]


def test_another_ratio_is_refused(tiny_model):
    with pytest.raises(ValueError, match=r"`ratio` is .odds., expected .loss. or .perplexity."):
        IFD(Proxy(tiny_model), ratio="odds")
