"""Sentence embeddings are what the library's own `encode` gives, text by text."""

import numpy as np
import pytest

from hf_datasel import SentenceEmbedding
from hf_datasel.rows.turns import text_of

from ..sentences import save_sentence_model


def test_it_is_what_the_library_encodes(tiny_model, pool):
    library = pytest.importorskip("sentence_transformers")
    folder = save_sentence_model(tiny_model)
    found = SentenceEmbedding(folder, of="prompt", unit=False)(pool[:6])
    model = library.SentenceTransformer(folder)
    expected = [model.encode(prompt) for prompt in pool["prompt"][:6]]
    assert found["embedding"] == pytest.approx(np.array(expected), abs=1e-4)
    assert found["embedding_status"] == ["ok"] * 6


def test_a_row_without_text_has_none(tiny_model):
    pytest.importorskip("sentence_transformers")
    found = SentenceEmbedding(save_sentence_model(tiny_model))({"messages": [[], [{"role": "user", "content": "Hi"}]]})
    assert np.isnan(found["embedding"]).all() and found["embedding_status"] == ["no_text"] * 2


def test_what_is_embedded():
    turns = [("user", "Hi"), ("assistant", "Hello"), ("user", "Why?"), ("assistant", "So.")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    assert [text_of(row, of) for of in ("row", "prompt", "answer")] == [
        "Hi\nHello\nWhy?\nSo.",
        "Hi\nWhy?",
        "Hello\nSo.",
    ]
    with pytest.raises(ValueError, match="`of` is 'all'"):
        SentenceEmbedding("m", of="all")
