"""The probe pass, on tiny vision-language models with random weights and real pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, List, Value
from datasets import Image as ImageFeature

from hf_datasel import Labels, Perplexity, Probe, Proxy, SelfConsistency, probe_descriptors, score
from hf_datasel.proxy.losses import collate
from hf_datasel.proxy.sampling import _chosen, end_tokens, prompt_of, write_answers
from hf_datasel.rows.journal import using_journal
from hf_datasel.scorers.probe import VERDICT_TOKENS
from hf_datasel.scorers.with_proxy import loaded_proxy

from ..vlm import FAMILIES, PLACEHOLDERS, png, real_rows


LABELS = Labels(max_length=512)
REAL = real_rows(6)
FEATURES = Features({"prompt": Value("string"), "completion": Value("string"), "images": List(ImageFeature())})


def pool_of(family):
    """Rows of one, of two and of no image."""
    place = PLACEHOLDERS[family]
    one = [
        {"prompt": f"{place} {r['question']}", "completion": f" {r['answer']}", "images": [r["image"]]} for r in REAL
    ]
    two = {
        "prompt": f"{place} {place} What happens next?",
        "completion": " it falls",
        "images": [png(3), png(5, (60, 30))],
    }
    return [*one, two, {"prompt": "two and two?", "completion": " four", "images": []}]


def text_of(family):
    """The same rows, as if there had been no pictures."""
    place = PLACEHOLDERS[family]
    return [{**row, "prompt": row["prompt"].replace(f"{place} ", ""), "images": []} for row in pool_of(family)]


def columns(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.fixture(scope="module", params=FAMILIES)
def probed(request, vlm_folder):
    """Family, probe, and what it found."""
    probe = Probe(Proxy(vlm_folder(request.param)), LABELS, samples=3, max_new_tokens=5)
    return request.param, probe, probe(columns(pool_of(request.param)))


def test_sighted_is_the_loss_of_the_row_and_blind_that_of_the_row_without_media(probed):
    family, probe, found = probed
    plain = Perplexity(probe.proxy, labels=LABELS)
    sighted = plain(columns(pool_of(family)))["row_loss"]
    blind = plain(columns(text_of(family)))["row_loss"]
    assert found["loss_sighted"] == pytest.approx(sighted, rel=1e-6)
    assert found["loss_blind"] == pytest.approx(blind, rel=1e-6)
    assert found["video_dependence"] == pytest.approx(blind - sighted, abs=1e-5)
    assert (np.abs(found["video_dependence"][:7]) > 1e-4).all(), "pictures must matter, or this shows nothing"
    assert found["video_dependence"][7] == 0
    assert found["video_dependence_status"] == ["ok"] * 7 + ["no_media"]


def test_what_follows_is_what_the_column_maths_makes_of_it(probed):
    _, _, found = probed
    again = probe_descriptors(found)
    for name in ("video_dependence", "answer_difficulty", "temporal_necessity"):
        np.testing.assert_array_equal(found[name], again[name])
    consistency = SelfConsistency()(found)
    assert set(consistency["self_consistency_status"]) == {"ok"}


def test_other_batches_and_other_neighbours_give_the_same_answers(probed, monkeypatch):
    family, probe, found = probed
    rows = pool_of(family)
    monkeypatch.setenv("HF_DATASEL_JOURNAL", "off")
    monkeypatch.setenv("HF_DATASEL_MAX_TOKENS", "64")
    order = [7, 2, 6, 0, 5, 1, 4, 3]
    fresh = replace(probe)
    parts = [fresh(columns([rows[i] for i in order[start : start + 3]])) for start in (0, 3, 6)]
    for name in ("sampled_answers", "temporal_verdict"):
        assert [value for part in parts for value in part[name]] == [found[name][i] for i in order]
    losses = np.concatenate([part["loss_blind"] for part in parts])
    assert losses == pytest.approx(found["loss_blind"][order], rel=1e-5)
    other = replace(probe, seed=1)(columns(rows))["sampled_answers"]
    assert all(len(set(answers)) > 1 for answers in found["sampled_answers"]) and other != found["sampled_answers"]


def test_the_likeliest_answer_is_that_of_generate(probed):
    family, probe, _ = probed
    proxy = loaded_proxy(probe, None)
    for row in pool_of(family)[4:]:
        prompt = prompt_of(probe._read(proxy, row))
        batch = collate([prompt], proxy)
        expected = proxy.model.generate(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, max_new_tokens=6, do_sample=False,
            eos_token_id=sorted(end_tokens(proxy)), pad_token_id=proxy.tokenizer.pad_token_id, **batch.media,
        )[0, batch.input_ids.shape[1] :]  # fmt: skip
        expected = proxy.tokenizer.decode(expected, skip_special_tokens=True)
        assert write_answers(proxy, prompt, np.zeros((2, 6)), 0.0, 0.9) == [expected] * 2


def test_tokens_are_drawn_by_their_probability_from_the_likeliest():
    likely = torch.tensor([0.05, 0.5, 0.15, 0.3])
    draws = np.random.default_rng(0).random(20_000)
    found = _chosen(likely.log().expand(len(draws), 4), draws, 1.0, 0.9)
    shares = torch.bincount(found, minlength=4) / len(draws)
    assert shares.tolist() == pytest.approx([0, 0.5 / 0.95, 0.15 / 0.95, 0.3 / 0.95], abs=0.01)
    colder = _chosen(likely.log().expand(len(draws), 4), draws, 0.5, 1.0)
    squares = likely.square() / likely.square().sum()
    assert (torch.bincount(colder, minlength=4) / len(draws)).tolist() == pytest.approx(squares.tolist(), abs=0.01)
    assert _chosen(likely.log().expand(2, 4), np.array([0.0, 1.0]), 1.0, 0.9).tolist() == [1, 2]


def test_the_settings_are_the_known_ones():
    probe = Probe(Proxy("nowhere"))
    assert (probe.samples, probe.temperature, probe.top_p, probe.max_new_tokens) == (5, 0.8, 0.9, 32)
    assert (probe.verdict, VERDICT_TOKENS) == ("probe", 3)


@pytest.fixture(scope="module")
def qwen(vlm_folder):
    return Proxy(vlm_folder("qwen3_vl"))


def turns(question, answer, parts=False):
    content = [{"type": "image"}, {"type": "text", "text": question}] if parts else question
    return [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]


def test_dialogues_are_judged_by_their_last_answer(qwen):
    image = REAL[0]["image"]
    probe = Probe(qwen, LABELS, samples=0, verdict="none")
    asked = turns("what shape?", "a circle")
    split = {"prompt": asked[:1], "completion": asked[1:], "images": [image]}
    expected = probe(columns([split]))
    whole = probe(columns([{"messages": asked, "images": [image]}]))
    parts = probe(columns([{"messages": turns("what shape?", "a circle", parts=True), "images": [image]}]))
    named = [{"from": "human", "value": "what shape?"}, {"from": "gpt", "value": "a circle"}]
    told = probe(columns([{"conversations": named, "images": [image]}]))
    for found in (whole, parts, told):
        assert found["loss_sighted"] == pytest.approx(expected["loss_sighted"], rel=1e-6)
        assert found["loss_blind"] == pytest.approx(expected["loss_blind"], rel=1e-6)
    longer = probe(columns([{"messages": [*turns("what colour?", "red"), *asked], "images": [image]}]))
    assert longer["loss_blind"] != pytest.approx(expected["loss_blind"], rel=1e-6)
    assert longer["sampled_answers"] == longer["temporal_verdict"] == [None] and np.isnan(longer["temporal_necessity"])


def test_both_losses_are_of_the_tokens_that_truncation_left(qwen):
    row = {**pool_of("qwen3_vl")[0], "completion": " a long answer of many words that does not fit" * 4}
    whole = Probe(qwen, LABELS, samples=0, verdict="none")
    proxy = loaded_proxy(whole, None)
    encoded = whole._read(proxy, row)
    cut = replace(whole, labels=Labels(max_length=len(encoded.input_ids) - 20))
    sighted = cut._read(proxy, row)
    blind = cut._blind(proxy, row, sighted)
    assert sighted.num_targets == blind.num_targets == encoded.num_targets - 20
    assert [t for t in sighted.labels if t >= 0] == [t for t in blind.labels if t >= 0]
    assert cut(columns([row]))["video_dependence_status"] == ["truncated"]


def test_bad_rows_have_no_losses_and_say_why(qwen):
    good = pool_of("qwen3_vl")[0]
    rows = [
        good,
        {**good, "images": [{"bytes": b"no image", "path": None}]},
        {**good, "images": None},
        {**good, "completion": ""},
        {**good, "images": good["images"] * 2},
    ]
    found = Probe(qwen, LABELS, samples=2, max_new_tokens=2)(columns(rows))
    kinds = [status.partition(":")[0] for status in found["video_dependence_status"]]
    assert kinds == ["ok", "unreadable_image", "no_image", "empty_completion", "malformed"]
    for name in ("video_dependence", "loss_sighted", "loss_blind", "answer_difficulty"):
        assert np.isnan(found[name]).tolist() == [False, True, True, True, True]
    assert [answers is None for answers in found["sampled_answers"]] == [False, True, True, True, True]
    texts = Probe(qwen, LABELS)(columns([{"text": "a story", "images": []}]))
    assert texts["video_dependence_status"] == ["no_question"] and texts["temporal_verdict"] == [None]


def test_rows_of_one_prompt_are_sampled_each_for_itself(qwen):
    row = pool_of("qwen3_vl")[0]
    found = Probe(qwen, LABELS, samples=3, max_new_tokens=5, verdict="none")(
        columns([row, {**row, "completion": " another"}])
    )["sampled_answers"]
    assert found[0] != found[1]


def test_keywords_are_named_as_such_and_need_no_verdict_of_the_model(qwen):
    found = Probe(qwen, LABELS, samples=0, verdict="keywords")(columns(pool_of("qwen3_vl")[5:]))
    assert found["temporal_verdict"] == ["Static", "Temporal", "Static"]
    assert found["temporal_verdict_by"] == ["keywords"] * 3
    assert found["temporal_necessity"].tolist() == [0, 1, 0]


def test_finished_rows_come_from_the_journal(qwen, tmp_path, monkeypatch):
    probe = Probe(qwen, LABELS, samples=2, max_new_tokens=3)
    rows = columns(pool_of("qwen3_vl"))
    with using_journal(tmp_path / "journal.sqlite"):
        first = probe(rows)
        monkeypatch.setattr(Proxy, "load", lambda *_: pytest.fail("the model was asked again"))
        again = replace(probe)(rows)
    for name in Probe.columns:
        assert repr(again[name]) == repr(first[name])  # NaN is NaN here


def test_a_dataset_of_mixed_rows_through_score(qwen, tmp_path):
    rows = [
        {**row, "images": [{"bytes": image, "path": None} for image in row["images"]]} for row in pool_of("qwen3_vl")
    ]
    pool = Dataset.from_list(rows, features=FEATURES)
    probe = Probe(qwen, LABELS, samples=2, max_new_tokens=3)
    scored = score(pool, probe, journal=tmp_path / "journal.sqlite")
    assert scored["loss_blind"][:] == pytest.approx(probe(columns(pool_of("qwen3_vl")))["loss_blind"], rel=1e-6)
    assert all(len(answers) == 2 for answers in scored["sampled_answers"])


@pytest.mark.parametrize(
    ("setting", "value"),
    [("samples", -1), ("temperature", 0.0), ("top_p", 0.0), ("max_new_tokens", 0), ("verdict", "guess")],
)
def test_settings_out_of_range(setting, value):
    with pytest.raises(ValueError, match=f"`{setting}` is"):
        Probe(Proxy("nowhere"), **{setting: value})


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_a_text_is_answered_alike_before_and_after_a_picture(vlm_folder, family):
    probe = Probe(Proxy(vlm_folder(family)), LABELS)
    proxy = loaded_proxy(probe, None)
    rows = pool_of(family)
    picture, text = (prompt_of(probe._read(proxy, row)) for row in (rows[6], rows[7]))
    draws = np.random.default_rng(0).random((20, 30))
    before = write_answers(proxy, text, draws, 0.8, 0.9)
    write_answers(proxy, picture, draws, 0.8, 0.9)
    assert write_answers(proxy, text, draws, 0.8, 0.9) == before
