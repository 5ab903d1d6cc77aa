"""QuRating: the sheet's weighted mean, and ratings as transformers gives them for each window alone."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

from hf_datasel import Proxy, QuRating
from hf_datasel.proxy.batching import TokenBudget
from hf_datasel.proxy.rating_head import LoadedRater, load_rater, text_ratings

from ..raters import save_rater


def plain(folder, text, window):
    """Ratings of each window alone, and their tokens."""
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForSequenceClassification.from_pretrained(folder),
    )
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = [ids[start : start + window] for start in range(0, len(ids), window)]
    with torch.no_grad():
        return np.array([model(torch.tensor([its])).logits[0].tolist() for its in pieces]), [
            len(its) for its in pieces
        ]


def test_known_answer_of_windows(monkeypatch, tiny_model):
    from hf_datasel.proxy import rating_head

    # Windows of 512 and 128 tokens rated 1 and -1.
    monkeypatch.setattr(
        rating_head,
        "_ratings",
        lambda loaded, batch: torch.where(batch.attention_mask.sum(1, keepdim=True) == 512, 1.0, -1.0),
    )
    loaded = load_rater(Proxy(save_rater(tiny_model)), None).loaded
    assert len(loaded.tokenizer(text="1" * 639, add_special_tokens=False)["input_ids"]) == 640
    ratings, tokens = text_ratings(LoadedRater(loaded, 1), ["1" * 639], 512, TokenBudget(4096))
    assert ratings.tolist() == [[pytest.approx(0.6)]] and tokens.tolist() == [640]


def test_it_is_the_mean_over_windows_by_their_tokens(tiny_model, pool):
    folder = save_rater(tiny_model)
    found = QuRating(Proxy(folder), of="answer", window=40)(pool[:6])
    for index, text in enumerate(pool["completion"][:6]):
        ratings, counts = plain(folder, text, 40)
        expected = np.average(ratings, axis=0, weights=counts)
        assert found["qurating_educational_value"][index] == pytest.approx(expected[3], rel=1e-4, abs=1e-5)
        assert found["qurating_writing_style"][index] == pytest.approx(expected[0], rel=1e-4, abs=1e-5)
        assert found["qurating"][index] == pytest.approx(expected.sum(), rel=1e-4, abs=1e-5)
        assert found["qurating_tokens"][index] == sum(counts)


def test_one_criterion_is_the_score_where_one_is_asked_for(tiny_model, pool):
    found = QuRating(Proxy(save_rater(tiny_model)), score=("required_expertise",))(pool[:4])
    assert found["qurating"].tolist() == found["qurating_required_expertise"].tolist()


def test_a_row_without_text_has_none(tiny_model):
    rows = {"prompt": ["Why?", "Why?"], "completion": ["", "So."]}
    found = QuRating(Proxy(save_rater(tiny_model)), of="answer")(rows)
    assert found["qurating_status"] == ["no_text", "ok"] and np.isnan(found["qurating"]).tolist() == [True, False]
    assert found["qurating_tokens"][0] == 0


def test_an_encoder_with_a_head_rates_too(tiny_model, tmp_path):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 512,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    BertForSequenceClassification(BertConfig(**sizes, num_labels=2)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    rows = {"text": ["one two", "Once upon a time there was a little girl."]}
    found = QuRating(Proxy(str(tmp_path)), score=("a",), criteria=("a", "b"))(rows)
    assert found["qurating"] == pytest.approx([plain(tmp_path, text, 512)[0][0, 0] for text in rows["text"]], rel=1e-4)


def test_what_is_wrong_is_named(tiny_model):
    with pytest.raises(ValueError, match="`criteria` names 2, expected 4, one for each output"):
        QuRating(Proxy(save_rater(tiny_model)), score=("a",), criteria=("a", "b"))({"text": ["x"]})
    with pytest.raises(ValueError, match=r"`score` is \('style',\), expected one or more of"):
        QuRating(Proxy("m"), score=("style",))
    with pytest.raises(ValueError, match="`window` is 0"):
        QuRating(Proxy("m"), window=0)
    with pytest.raises(ValueError, match="`of` is 'all'"):
        QuRating(Proxy("m"), of="all")
