"""Rewards of a function and of a model, and rows that have none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from hf_datasel import Reward
from tests import clip


def test_a_function_by_itself_or_by_name():
    rows = {"prompt": ["?", "?", "?"], "completion": ["eee!", "ok", ""]}
    for reward in (clip.letters, "tests.clip:letters"):
        found = Reward(reward)(rows)
        assert found["reward"] == pytest.approx([0.75, 0.0, np.nan], nan_ok=True)
        assert found["reward_status"] == ["ok", "ok", "no_answer"]
    assert Reward(clip.letters).spec == Reward("tests.clip:letters").spec
    assert Reward(clip.letters).spec != Reward(clip.letters, version="2").spec


def half(rows):
    return [1.0, None, float("inf")][: len(rows)]


def short(rows):
    return [1.0]


def test_a_row_the_function_knows_nothing_of(monkeypatch):
    monkeypatch.setattr(clip, "half", half, raising=False)
    monkeypatch.setattr(clip, "short", short, raising=False)
    rows = {"prompt": ["?"] * 3, "completion": ["a", "b", "c"]}
    found = Reward("tests.clip:half")(rows)
    assert found["reward_status"] == ["ok", "no_reward", "no_reward"] and np.isnan(found["reward"][1:]).all()
    with pytest.raises(ValueError, match="returned 1 numbers for 3 rows"):
        Reward("tests.clip:short")(rows)


def test_a_function_nobody_else_can_import_is_refused():
    with pytest.raises(ValueError, match="expected a function of a module"):
        Reward(lambda rows: [0.0] * len(rows))
    with pytest.raises(ValueError, match=r"`reward` is 'tests\.clip:numbers', expected package\.module:function"):
        Reward("tests.clip:numbers")


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_model):
    """A function of a number of outputs: folder of a tiny reward model with random weights."""

    def make(outputs=1):
        folder = tmp_path_factory.mktemp("reward")
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        config = LlamaConfig(
            vocab_size=len(tokenizer), num_labels=outputs, pad_token_id=0, max_position_embeddings=64, **sizes
        )
        LlamaForSequenceClassification(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return make


def test_a_model_reads_question_and_answer(model, pool):
    folder = model()
    found = Reward(folder)(pool[:4])
    loaded, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    with torch.no_grad():
        expected = [
            float(
                loaded(
                    **tokenizer(row["prompt"], row["completion"], truncation=True, max_length=64, return_tensors="pt")
                ).logits
            )
            for row in pool.select(range(4))
        ]
    assert found["reward"] == pytest.approx(expected, abs=1e-6)
    assert len(set(expected)) == 4


def test_a_model_with_several_outputs_is_refused(model, pool):
    with pytest.raises(ValueError, match="which has 3 outputs, expected a model with one"):
        Reward(model(3))(pool[:1])
