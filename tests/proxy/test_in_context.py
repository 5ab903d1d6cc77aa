"""The in-context engine: against transformers alone, and with and without what it reads once."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_datasel import Labels, Proxy
from hf_datasel.errors import BadRow
from hf_datasel.proxy.batching import TokenBudget
from hf_datasel.proxy.in_context import InContext
from hf_datasel.proxy.in_context_answers import answers_in_context, attention_to_examples, example_starts
from hf_datasel.proxy.prefix import shared_length
from hf_datasel.proxy.sampling import prompt_of
from hf_datasel.rows.labels import IGNORED, TokenRow

from .families import FAMILIES, save_model


TEMPLATE = "<s>{% for m in messages %}[{{ m.role }}] {{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"


def dialogue(row):
    return {"messages": [{"role": r, "content": row[c]} for r, c in (("user", "prompt"), ("assistant", "completion"))]}


@pytest.fixture(scope="module")
def rows(real_rows):
    """The shortest 12 of the pool, so that several fit the context."""
    return [{"prompt": row["prompt"], "completion": row["completion"]} for row in real_rows("pool.jsonl", 12)]


@pytest.fixture(scope="module")
def proxy(tiny_model):
    return Proxy(tiny_model).load(Labels())


def both(proxy, items, **options):
    return [InContext(proxy, items, Labels(), shares_prefix=shared, **options) for shared in (True, False)]


def test_a_gain_is_what_transformers_says(proxy, rows, tiny_model):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)

    def loss(before, row):
        prompt = before + row["prompt"]
        ids = tokenizer(prompt + row["completion"] + tokenizer.eos_token, return_tensors="pt").input_ids
        targets = ids.clone()
        targets[:, : len(tokenizer(prompt).input_ids)] = IGNORED
        assert (ids == tokenizer.bos_token_id).sum() == 1
        with torch.no_grad():
            return float(model(ids, labels=targets).loss)

    before = "".join(f"{row['prompt']}{row['completion']}\n\n" for row in rows[:2])
    expected = [loss("", row) - loss(before, row) for row in rows[2:6]]
    for engine in both(proxy, rows[2:6]):
        status, gains = engine.gains(rows[:2])
        assert status == "ok" and gains == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_examples_read_once_give_the_gains_of_examples_read_each_time(family, rows, tiny_model, tmp_path_factory):
    loaded = Proxy(save_model(tmp_path_factory.mktemp(family), tiny_model, family)).load(Labels())
    once, each_time = both(loaded, rows[4:8])
    for shots in (rows[:1], rows[:3]):
        assert once.gains(shots)[1] == pytest.approx(each_time.gains(shots)[1], abs=1e-4)


def test_other_batches_give_the_same_gains_and_leave_the_weights(proxy, rows):
    before = {name: value.clone() for name, value in proxy.model.state_dict().items()}
    whole = InContext(proxy, rows[1:9], Labels()).gains(rows[:1])[1]
    one_by_one = InContext(proxy, rows[1:9], Labels(), budget=TokenBudget(1)).gains(rows[:1])[1]
    assert one_by_one == pytest.approx(whole, abs=1e-5)
    assert all(torch.equal(before[name], value) for name, value in proxy.model.state_dict().items())


def test_a_dialogue_gets_its_template_once(rows, tiny_model, tmp_path):
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(tmp_path)
    loaded = Proxy(str(tmp_path)).load(Labels())
    once, each_time = both(loaded, [dialogue(row) for row in rows[4:7]])
    shot = dialogue(rows[0])
    status, joined = once.after([shot])
    turns = [*shot["messages"], *dialogue(rows[4])["messages"]]
    assert status == "ok"
    assert list(joined[0].input_ids) == tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]
    assert joined[0].input_ids.count(tokenizer.bos_token_id) == once.alone[0].input_ids.count(tokenizer.bos_token_id)
    assert once.gains([shot])[1] == pytest.approx(each_time.gains([shot])[1], abs=1e-4)
    assert once.gains(rows[:1])[0] == "other_format"


def test_a_system_turn_that_examples_and_question_share_is_said_once(rows, tiny_model, tmp_path):
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    strict = "{% if m.role == 'system' and not loop.first %}{{ raise_exception('system comes first') }}{% endif %}["
    tokenizer.chat_template = TEMPLATE.replace("[", strict, 1)
    tokenizer.save_pretrained(tmp_path)

    def polite(row, system="Be kind."):
        return {"messages": [{"role": "system", "content": system}, *dialogue(row)["messages"]]}

    engine = InContext(Proxy(str(tmp_path)).load(Labels()), [polite(row) for row in rows[4:6]], Labels())
    status, joined = engine.after([polite(rows[0]), polite(rows[1])])
    turns = [*polite(rows[0])["messages"], *dialogue(rows[1])["messages"], *dialogue(rows[4])["messages"]]
    assert status == "ok"
    assert list(joined[0].input_ids) == tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]
    status, gains = engine.gains([polite(rows[0], "Be rude.")])
    assert status.startswith("malformed") and np.isnan(gains).all()


def test_greedy_answers_are_those_of_generate(proxy, rows, tiny_model):
    once, each_time = both(proxy, rows[3:7])
    for shots in ([], rows[:2]):
        found = answers_in_context(once, shots, max_new_tokens=12)
        assert found == answers_in_context(each_time, shots, max_new_tokens=12)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    before = "".join(f"{row['prompt']}{row['completion']}\n\n" for row in rows[:2])
    for row, answer in zip(rows[3:7], found[1], strict=True):
        ids = tokenizer(before + row["prompt"], return_tensors="pt").input_ids
        written = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
        assert answer == tokenizer.decode(written, skip_special_tokens=True)


def test_an_answer_that_the_context_would_cut_is_flagged_and_not_wrong(proxy, rows):
    engine = InContext(proxy, rows[3:5], Labels())
    longest = max(len(prompt_of(row).input_ids) for row in engine.after(rows[:1])[1])
    status, answers = answers_in_context(engine, rows[:1], proxy.context - longest)
    assert status == "ok" and len(answers) == 2
    assert answers_in_context(engine, rows[:1], proxy.context - longest + 1) == ("no_room_to_answer", [])


def test_attention_to_the_examples_is_the_model_s_own(proxy, rows):
    engine = InContext(proxy, rows[4:6], Labels())
    status, found = attention_to_examples(engine, rows[:2], layer=1)
    prompt = prompt_of(engine.after(rows[:2])[1][0])
    first, second, question = example_starts(engine, rows[:2], prompt)
    assert proxy.tokenizer.decode(prompt.input_ids[second:question]).startswith(rows[1]["prompt"][:10].strip())
    ids = torch.tensor([prompt.input_ids])
    looks = proxy.model(ids, output_attentions=True).attentions[1][0].sum(0)[question:].detach()
    means = np.array([looks[:, first:second].mean(), looks[:, second:question].mean()])
    assert status == "ok" and found[0] == pytest.approx(means / means.sum(), rel=1e-3)
    with pytest.raises(ValueError, match="`layer` is 9, expected 0 to 4"):
        attention_to_examples(engine, rows[:2], layer=9)


def test_answers_that_a_template_writes_otherwise_behind_examples_are_not_compared(rows, tiny_model, tmp_path):
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = TEMPLATE.replace("{{ m.content }}", "{{ m.content }}{% if loop.index > 2 %}!{% endif %}")
    tokenizer.save_pretrained(tmp_path)
    status, gains = InContext(Proxy(str(tmp_path)).load(Labels()), [dialogue(rows[1])], Labels()).gains(
        [dialogue(rows[0])]
    )
    assert status == "other_answer_tokens" and np.isnan(gains).all()


@pytest.mark.parametrize(
    ("shot", "status"),
    [
        ({"prompt": "Why?", "completion": ""}, "empty_completion"),
        ({"text": "Once upon a time"}, "no_question"),
        ({"prompt": "Why?", "completion": None}, "empty_completion"),
        ({"prompt": "So " * 240, "completion": "yes"}, "longer_than_context"),
        ({"prompt": "So " * 5000, "completion": "yes"}, "longer_than_context"),
        ({"prompt": "What?", "completion": "A cat", "images": ["cat.png"]}, "holds_media"),
    ],
)
def test_an_example_that_cannot_be_shown_has_a_reason_and_no_gain(proxy, rows, shot, status):
    engine = InContext(proxy, rows[:2], Labels())
    found, gains = engine.gains([shot])
    assert found == status and np.isnan(gains).all() and gains.shape == (2,)
    assert answers_in_context(engine, [shot]) == (status, [])


def test_items_without_an_answer_are_refused(proxy, rows):
    with pytest.raises(BadRow, match=r"`items` has 1 of 2 rows .*item 1: empty_completion"):
        InContext(proxy, [rows[0], {"prompt": "Why?", "completion": " "}], Labels())


def test_the_shared_part_ends_before_the_token_that_predicts_the_first_target():
    rows = [TokenRow((1, 2, 3, 4), (IGNORED, IGNORED, 3, 4), "ok")] * 2
    assert shared_length(rows) == 1
    assert shared_length([TokenRow((1, 2), (1, 2), "ok")]) == 0
