"""Embedding against the hidden states that transformers itself gives, row by row."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from hf_datasel import Embedding, Labels, Proxy, SemDeDup, score, select
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows.labels import IGNORED, TokenRow
from hf_datasel.scorers.embedding import marks, short


LABELS = Labels(max_length=512)


def states(folder, row, layer):
    """Hidden states (T, H), ids and labels of one row."""
    proxy = Proxy(folder).load(LABELS)
    encoded = encode(row, proxy, LABELS)
    with torch.no_grad():
        output = AutoModelForCausalLM.from_pretrained(folder)(
            input_ids=torch.tensor([encoded.input_ids]), output_hidden_states=True
        )
    return output.hidden_states[layer][0].double().numpy(), np.array(encoded.labels) != IGNORED


@pytest.mark.parametrize("layer", [-1, 0, 3])
@pytest.mark.parametrize("of", ["row", "prompt", "answer"])
def test_it_is_the_mean_of_the_states_of_a_layer(tiny_model, pool, layer, of):
    found = Embedding(Proxy(tiny_model), of, layer, unit=False, labels=LABELS)(pool[:5])["embedding"]
    for index, row in enumerate(pool.select(range(5))):
        vectors, is_target = states(tiny_model, row, layer)
        kept = {"row": is_target | True, "prompt": ~is_target, "answer": is_target}[of]
        assert found[index] == pytest.approx(vectors[kept].mean(0), abs=2e-5)


def test_the_last_token_and_the_unit_length(tiny_model, pool):
    found = Embedding(Proxy(tiny_model), pooling="last", labels=LABELS)(pool[:3])["embedding"]
    vectors, _ = states(tiny_model, pool[2], -1)
    assert found[2] == pytest.approx(vectors[-1] / np.linalg.norm(vectors[-1]), abs=2e-6)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(3), abs=1e-6)


def test_a_prompt_is_the_same_whatever_is_answered(tiny_model):
    rows = {"prompt": ["Tim has 3 apples."] * 2, "completion": [" He eats one.", " No."]}
    of_prompt = Embedding(Proxy(tiny_model), "prompt")(rows)["embedding"]
    of_row = Embedding(Proxy(tiny_model), "row")(rows)["embedding"]
    assert of_prompt[0] == pytest.approx(of_prompt[1], abs=1e-6)
    assert np.linalg.norm(of_row[0] - of_row[1]) > 0.01


def test_a_row_without_what_is_asked_for_has_none_and_says_so(tiny_model):
    found = Embedding(Proxy(tiny_model), "prompt")({"text": ["Once upon a time"]})
    assert np.isnan(found["embedding"]).all() and found["embedding_status"] == ["no_prompt"]
    assert marks(TokenRow((5, 6), (5, 6), "ok"), "prompt", bos=1).status == "no_prompt"
    assert marks(TokenRow((), (), "malformed"), "row", bos=1).status == "malformed"


def test_a_bad_row_first_leaves_the_column_as_it_is(tiny_model, pool):
    rows = Dataset.from_dict({"prompt": ["Why?", *pool["prompt"][:2]], "completion": ["", *pool["completion"][:2]]})
    found = rows.map(Embedding(Proxy(tiny_model)), batched=True, batch_size=1)
    assert str(found.features["embedding"].feature.dtype) == "float32"
    assert [np.isnan(vector).all() for vector in found["embedding"]] == [True, False, False]


def test_the_journal_gives_back_every_bit_and_rules_read_the_column(tiny_model, pool, tmp_path):
    scorer = Embedding(Proxy(tiny_model))
    first = score(pool, scorer, journal=tmp_path / "journal.sqlite")
    again = score(pool, scorer, journal=tmp_path / "journal.sqlite")
    assert first["embedding"][:] == again["embedding"][:]
    assert np.asarray(first["embedding"][:], np.float32).tolist() == scorer(pool[:])["embedding"].tolist()
    assert select(first, SemDeDup("embedding", 0.5)).num_kept == 12


def test_shortest_decimals_are_the_same_numbers():
    numbers = np.random.default_rng(0).normal(size=1000).astype(np.float32) * 1e-3
    assert np.array(short(numbers), np.float32).tolist() == numbers.tolist()


def test_what_is_not_there_is_refused(tiny_model):
    with pytest.raises(ValueError, match="`of` is 'question', expected 'row', 'prompt' or 'answer'"):
        Embedding(Proxy(tiny_model), of="question")
    with pytest.raises(ValueError, match="`pooling` is 'max'"):
        Embedding(Proxy(tiny_model), pooling="max")
    with pytest.raises(ValueError, match=r"`layer` is 9, expected one of 0 \(token embeddings\) to 5"):
        Embedding(Proxy(tiny_model), layer=9)({"prompt": ["a"], "completion": ["b"]})


def test_rows_with_images_have_one_too(vlm_folder, image_rows):
    pictures = list(dict.fromkeys(row["image"] for row in image_rows(9)))[
        :3
    ]  # several questions are about one picture
    columns = {"prompt": ["<image>What is it?"] * 3, "completion": ["A shape."] * 3}
    rows = {**columns, "images": [[picture] for picture in pictures]}
    found = Embedding(Proxy(vlm_folder("llava")), labels=Labels(max_length=None))(rows)
    assert found["embedding_status"] == ["ok"] * 3 and np.isfinite(found["embedding"]).all()
    assert np.linalg.norm(found["embedding"][0] - found["embedding"][1]) > 1e-3
