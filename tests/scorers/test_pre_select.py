"""PreSelect against fastText itself."""

import shutil

import numpy as np
import pytest

from hf_datasel import PreSelect
from hf_datasel.errors import DataselError

from ..raters import save_classifier


ROWS = {"prompt": ["She has\napples.", "1 + 2 ="], "completion": [" He eats one.", "\n3"]}


def test_it_is_what_fasttext_predicts_for_the_text_in_one_line():
    fasttext = pytest.importorskip("fasttext")
    found = PreSelect(save_classifier())(ROWS)
    model = fasttext.load_model(save_classifier())
    for value, text in zip(found["pre_select"], ("She has apples. He eats one.", "1 + 2 = 3"), strict=True):
        known = [word for word in (*text.split(), "</s>") if word in model.get_words()]
        words = [model.get_word_vector(word) for word in known]
        logits = model.get_output_matrix() @ np.mean(words, axis=0)
        weights = np.exp(logits - logits.max())
        expected = dict(zip(model.get_labels(), weights / weights.sum(), strict=True))
        assert value == pytest.approx(expected["__label__1"], abs=1e-4)
    assert found["pre_select"][0] > 0.9 and found["pre_select"][1] < 0.1
    other = PreSelect(save_classifier(), label="__label__0")(ROWS)["pre_select"]
    assert other + found["pre_select"] == pytest.approx(1.0, abs=1e-4)


def test_the_part_that_is_read_decides():
    pytest.importorskip("fasttext")
    rows = {"prompt": ["she has so many apples", ""], "completion": ["( 1 + 2 ) = 3", ""]}
    found = {of: PreSelect(save_classifier(), of=of)(rows) for of in ("prompt", "answer")}
    assert found["prompt"]["pre_select"][0] > 0.8 and found["answer"]["pre_select"][0] < 0.2
    assert np.isnan(found["answer"]["pre_select"][1]) and found["answer"]["pre_select_status"] == ["ok", "no_text"]


def test_the_model_counts_by_its_content(tmp_path):
    pytest.importorskip("fasttext")
    shutil.copy(save_classifier(), tmp_path / "a.bin")
    first = PreSelect(str(tmp_path / "a.bin")).spec
    (tmp_path / "a.bin").write_bytes(b"another")
    assert PreSelect(str(tmp_path / "a.bin")).spec["weights"] != first["weights"]


def test_what_is_wrong_is_named():
    with pytest.raises(DataselError, match=r"`model` is 'nowhere\.bin', which is no file.*hf download hkust-nlp"):
        PreSelect("nowhere.bin")(ROWS)
    with pytest.raises(ValueError, match="`of` is 'all'"):
        PreSelect("m", of="all")
    pytest.importorskip("fasttext")
    with pytest.raises(DataselError, match="`label` is '__label__9', expected one of the model's"):
        PreSelect(save_classifier(), label="__label__9")(ROWS)
