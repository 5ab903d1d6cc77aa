"""DEITA: the sheet's worked cases, and both opinions as transformers gives them."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_datasel import Deita, Proxy
from hf_datasel.scorers.deita import evolved, expected_digit
from hf_datasel.scorers.prompt_files import FOLDER, filled, read_prompt


QUESTION, ANSWER = "Tim has 3 apples and eats one. How many are left?", "2"


def test_known_answers():
    logits = np.array([[0.0] * 6, [0.0, 0.0, 0.0, np.log(3), 0.0, 0.0], [np.nan, 0, 0, 0, 0, 0]])
    assert expected_digit(logits) == pytest.approx([3.5, 3.625, np.nan], nan_ok=True)
    assert evolved(np.array([2.0, 3.0]), np.array([4.0, 5.0])) == 23.0


def opinion(folder, prompt):
    """The expected digit, by one plain forward."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        logits = model(**tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)).logits[0, -1].double()
    digits = torch.softmax(logits[[tokenizer.convert_tokens_to_ids(str(d)) for d in range(1, 7)]], 0)
    return float(digits @ torch.arange(1.0, 7.0, dtype=torch.float64))


def asked(question):
    return (
        "You are a helpful assistant. Please identify the complexity score of the following user query. "
        f"\n##Query: {question}  \n##Complexity: "
    )


def judged(question, answer):
    return (
        "You are a helpful assistant. Please identify the quality score of the Response corresponding to the Question. "
        f"\n #Question#:\n{question}\n#Response#:\n{answer} \n##Quality: "
    )


def test_it_is_the_product_of_both_opinions_summed_over_turns(tiny_model):
    turns = [(QUESTION, ANSWER), ("And then?", "He eats another, so 1.")]
    messages = [
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    scorer = Deita(Proxy(tiny_model), Proxy(tiny_model))
    found = scorer({"messages": [messages, messages[:2], messages[2:]]})
    pairs = [(opinion(tiny_model, asked(q)), opinion(tiny_model, judged(q, a))) for q, a in turns]
    assert found["deita"] == pytest.approx(
        [pairs[0][0] * pairs[0][1] + pairs[1][0] * pairs[1][1], *(c * q for c, q in pairs)], rel=1e-5
    )
    assert found["deita_complexity"] == pytest.approx(
        [np.mean([c for c, _ in pairs]), pairs[0][0], pairs[1][0]], rel=1e-5
    )
    assert found["deita_quality"][1:] == pytest.approx([q for _, q in pairs], rel=1e-5)
    assert found["deita_turns"].tolist() == [2, 1, 1] and found["deita_status"] == ["ok"] * 3


def test_the_two_models_are_two(tiny_model, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(1.5)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    rows = {"prompt": [QUESTION], "completion": [ANSWER]}
    same = Deita(Proxy(tiny_model), Proxy(tiny_model))(rows)
    other = Deita(Proxy(tiny_model), Proxy(str(tmp_path)))(rows)
    assert other["deita_complexity"] == same["deita_complexity"]
    assert other["deita_quality"][0] == pytest.approx(opinion(tmp_path, judged(QUESTION, ANSWER)), rel=1e-5)
    assert abs(other["deita_quality"][0] - same["deita_quality"][0]) > 1e-3


def test_what_cannot_be_scored_has_no_score_and_a_reason(tiny_model):
    rows = {
        "prompt": [QUESTION, "", QUESTION, QUESTION],
        "completion": [ANSWER, ANSWER, "one two three " * 200, ""],
    }
    found = Deita(Proxy(tiny_model), Proxy(tiny_model))(rows)
    assert found["deita_status"] == ["ok", "no_question", "longer_than_context", "no_question"]
    assert np.isnan(found["deita"]).tolist() == [False, True, True, True]


def test_a_row_cannot_fill_in_the_prompt_of_its_answer(tiny_model):
    rows = {"prompt": ["Say {answer} or {question}."], "completion": [ANSWER]}
    found = Deita(Proxy(tiny_model), Proxy(tiny_model))(rows)
    assert found["deita_quality"][0] == pytest.approx(opinion(tiny_model, judged(rows["prompt"][0], ANSWER)), rel=1e-5)


def test_prompts_are_files_that_can_be_edited(tiny_model, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("How hard is {question}? ")
    scorer = Deita(Proxy(tiny_model), Proxy(tiny_model), complexity_prompt=str(file))
    found = scorer({"prompt": [QUESTION], "completion": [ANSWER]})
    assert found["deita_complexity"][0] == pytest.approx(opinion(tiny_model, f"How hard is {QUESTION}? "), rel=1e-5)
    before = scorer.spec
    file.write_text("How difficult is {question}? ")
    assert Deita(Proxy(tiny_model), Proxy(tiny_model), complexity_prompt=str(file)).spec != before
    file.write_text("How hard is it?")
    with pytest.raises(ValueError, match=r"`complexity_prompt` is .*, which lacks \{question\}"):
        Deita(Proxy(tiny_model), Proxy(tiny_model), complexity_prompt=str(file))
    with pytest.raises(
        ValueError, match="`quality_prompt` is 'nowhere', expected a text file, or one of deita_complexity"
    ):
        Deita(Proxy(tiny_model), Proxy(tiny_model), quality_prompt="nowhere")


def test_a_model_that_has_no_digits_is_refused(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path, dirs_exist_ok=True)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["\u2167"] = vocabulary.pop("6")
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match=r"`quality` is a model whose vocabulary lacks \['6'\] as tokens"):
        Deita(Proxy(tiny_model), Proxy(str(tmp_path)))({"prompt": [QUESTION], "completion": [ANSWER]})


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_packaged_prompts_read_back(path):
    assert read_prompt(path.stem, "prompt") + "\n" == path.read_text(encoding="utf-8")
    assert filled("{a}{b}", a="{b}", b="{a}") == "{b}{a}"
