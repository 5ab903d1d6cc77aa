"""Held-out loss and answers come out the same however rows are batched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from hf_datasel.errors import BadRow
from hf_datasel.rows import Labels
from hf_datasel.training import TargetTraining, generate_answers, heldout_loss

from .conftest import STORIES, sums


LABELS = Labels(max_length=64)
ROWS = [*sums(5), {"prompt": "one and two", "completion": " is a long answer of many tokens"}]


def dataset_of(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)


def loaded(folder: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def losses_by_hand(folder: str, rows: list[dict[str, Any]]) -> list[list[float]]:
    """Each row's token losses, one row and one token at a time."""
    import torch

    model, tokenizer = loaded(folder)
    found = []
    for row in rows:
        prompt = tokenizer(row["prompt"])["input_ids"]
        whole = tokenizer(row["prompt"] + row["completion"] + tokenizer.eos_token)["input_ids"]
        with torch.no_grad():
            log_probabilities = model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
        found.append([-float(log_probabilities[t - 1, whole[t]]) for t in range(len(prompt), len(whole))])
    return found


def test_mean_over_rows_of_means_over_target_tokens(tiny: str) -> None:
    by_hand = losses_by_hand(tiny, ROWS)
    expected = sum(sum(row) / len(row) for row in by_hand) / len(by_hand)
    over_tokens = sum(sum(row) for row in by_hand) / sum(len(row) for row in by_hand)
    found = heldout_loss(tiny, dataset_of(ROWS), LABELS)
    assert found == pytest.approx(expected, abs=1e-6)
    assert abs(found - over_tokens) > 1e-4


def test_batches_and_row_order_change_nothing(tiny: str) -> None:
    rows = dataset_of(ROWS)
    found = [heldout_loss(tiny, rows, LABELS, batch_size=size) for size in (1, 2, 100)]
    found.append(heldout_loss(tiny, rows.shuffle(seed=1), LABELS))
    assert found == pytest.approx([found[0]] * 4, abs=1e-6)


def test_rows_without_a_loss_do_not_count(tiny: str, caplog: pytest.LogCaptureFixture) -> None:
    expected = heldout_loss(tiny, dataset_of(ROWS), LABELS)
    bad = [{"prompt": "1 + 1 = ", "completion": ""}, {"prompt": "long " * 90, "completion": "4"}]
    assert heldout_loss(tiny, dataset_of(ROWS + bad), LABELS) == pytest.approx(expected, abs=1e-6)
    assert "2 of 8 held-out rows have no loss" in caplog.text
    with pytest.raises(BadRow, match=r"no row with a loss \(\{'empty_completion': 1, 'masked_by_truncation': 1\}\)"):
        heldout_loss(tiny, dataset_of(bad), LABELS)


def test_a_loaded_model_is_measured_and_left_alone(tiny: str) -> None:
    model, tokenizer = loaded(tiny)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    model.train()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    found = heldout_loss(model, dataset_of(ROWS), LABELS, tokenizer=tokenizer)
    assert found == heldout_loss(tiny, dataset_of(ROWS), LABELS)
    assert model.training
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad
        assert bool((parameter == before[name]).all())
    with pytest.raises(ValueError, match="`tokenizer` is None, expected the tokenizer of the loaded `model`"):
        heldout_loss(model, dataset_of(ROWS), LABELS)


def test_bad_batch_size(tiny: str) -> None:
    with pytest.raises(ValueError, match="`batch_size` is 0, expected at least 1"):
        heldout_loss(tiny, dataset_of(ROWS), LABELS, batch_size=0)


@pytest.mark.skipif(not STORIES.is_dir(), reason=f"{STORIES} is not here")
def test_a_pretrained_model_knows_its_stories() -> None:
    story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
    words = story.split()
    labels = Labels(max_length=None)
    told = heldout_loss(STORIES, dataset_of([{"text": story}]), labels)
    jumbled = heldout_loss(STORIES, dataset_of([{"text": " ".join(reversed(words))}]), labels)
    assert told < 1.5
    assert jumbled > 4
    assert math.exp(told) < 5


@pytest.fixture(scope="module")
def taught(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that knows five sums, and how to greet, by heart."""
    greeting = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho ho ho"}]}
    _, tokenizer = loaded(tiny)
    rows = [{"text": tokenizer.apply_chat_template(greeting["messages"], tokenize=False)}]
    rows += [{"text": row["prompt"] + row["completion"]} for row in sums(5)]
    training = TargetTraining(tiny, steps=100, sft={"learning_rate": 1e-2, "per_device_train_batch_size": 6})
    return training.train(dataset_of(rows), LABELS, tmp_path_factory.mktemp("taught")).folder


def test_answers_end_where_the_model_ends_them(taught: str) -> None:
    prompts = [row["prompt"] for row in sums(5)]
    assert generate_answers(taught, prompts, max_new_tokens=20) == [row["completion"] for row in sums(5)]


def test_both_the_models_and_the_tokenizers_end_are_ends(taught: str, tmp_path: Path) -> None:
    model, tokenizer = loaded(taught)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    chat = [{"role": "user", "content": "hi"}]
    assert generate_answers(tmp_path, [chat, "3 + 0 = "], max_new_tokens=20) == ["ho ho ho", "3"]


def test_a_revision_is_asked_for(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    asked = []
    for kind in (transformers.AutoModelForCausalLM, transformers.AutoTokenizer):
        load = kind.from_pretrained

        def remember(*args: Any, load: Any = load, revision: str | None = None, **kwargs: Any) -> Any:
            asked.append(revision)
            return load(*args, **kwargs)

        monkeypatch.setattr(kind, "from_pretrained", remember)
    heldout_loss(tiny, dataset_of(ROWS), LABELS, revision="v2")
    generate_answers(tiny, [], revision="v3")
    assert asked == ["v2", "v2", "v3", "v3"]


def test_chats_are_rendered_and_cut(taught: str) -> None:
    chat = [{"role": "user", "content": "hi"}]
    (answer,) = generate_answers(taught, [chat], max_new_tokens=20)
    assert answer.startswith("ho ho ho")
    (cut,) = generate_answers(taught, [chat], max_new_tokens=1)
    assert cut
    assert answer.startswith(cut)
    assert len(cut) < len(answer)


def test_padding_and_order_change_no_answer(taught: str) -> None:
    prompts = ["0 + 0 = ", "what is the sum of one and two and three and four: ", "hi", "3 + 0 = ", "2"]
    alone = [generate_answers(taught, [prompt], max_new_tokens=8)[0] for prompt in prompts]
    for size in (1, 2, 5):
        assert generate_answers(taught, prompts, max_new_tokens=8, batch_size=size) == alone
    assert generate_answers(taught, []) == []


def test_answers_are_those_of_plain_greedy_generation(taught: str) -> None:
    model, tokenizer = loaded(taught)
    prompt = "what is the sum"
    encoded = tokenizer(prompt, return_tensors="pt")
    written = model.generate(**encoded, max_new_tokens=8, do_sample=False)[0, encoded["input_ids"].shape[1] :]
    assert generate_answers(Path(taught), [prompt], max_new_tokens=8) == [
        tokenizer.decode(written, skip_special_tokens=True)
    ]
