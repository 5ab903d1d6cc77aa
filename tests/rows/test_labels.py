"""What a scorer sees of a row is, token for token, what SFTTrainer trains on."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hf_datasel.errors import BadRow, MissingExtra
from hf_datasel.rows import Labels, TokenRow, check_columns, prepare_tokenizer, token_row
from hf_datasel.rows.labels import (
    EMPTY_COMPLETION,
    EMPTY_TEXT,
    IGNORED,
    MALFORMED,
    MASKED_BY_TRUNCATION,
    NO_LABELS,
    OK,
    TRUNCATED,
)

from .conftest import CHATML, GPT2, gsm8k, tiny_model, tokenizer_named


PLAIN = Labels(max_length=None)


def chat(*turns: str, roles: tuple[str, ...] = ("user", "assistant")) -> list[dict[str, Any]]:
    return [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]


QUESTIONS = gsm8k(4)
TEXTS = [row["question"] + "\n" + row["answer"] for row in QUESTIONS]
TOOL = {"type": "function", "function": {"name": "add", "description": "Adds two numbers."}}

FORMATS: dict[str, list[dict[str, Any]]] = {
    "text": [{"text": text} for text in [*TEXTS, "ends already<|endoftext|>", "é 汉 😀", "", "x"]],
    "other_text_field": [{"story": text, "text": "not this one"} for text in TEXTS],
    "prompt_completion": [
        *({"prompt": row["question"] + "\n", "completion": row["answer"]} for row in QUESTIONS),
        {"prompt": "How many cl", "completion": "ips did she sell?"},  # tokens merge across the boundary
        {"prompt": "2 + 2 = ", "completion": " 4"},
        {"prompt": "", "completion": "no prompt at all"},
        {"prompt": "ends already", "completion": " yes<|endoftext|>"},
        {"prompt": "a very long question " * 30, "completion": "4"},
    ],
    "text_beside_prompt_completion": [
        {"text": "both", "prompt": "2 + 2 = ", "completion": "4"},
        {"text": "both<|endoftext|>", "prompt": "2 + 2 = ", "completion": "4"},
    ],
    "messages": [
        *({"messages": chat(row["question"], row["answer"])} for row in QUESTIONS),
        {"messages": chat("hi", "hello", "and?", "that is all")},
        {"messages": [{"role": "system", "content": "Be brief."}, *chat("2 + 2?", "4")]},
        {"messages": chat("a very long question " * 30, "4")},
    ],
    "conversations": [
        {"conversations": [{"from": turn["role"], "value": turn["content"]} for turn in chat("hi", "hello", "so", "so")]},
        {"conversations": [{"from": turn["role"], "value": turn["content"]} for turn in chat(*TEXTS[:2])]},
    ],
    "prompt_completion_chat": [
        *({"prompt": chat(row["question"]), "completion": [{"role": "assistant", "content": row["answer"]}]} for row in QUESTIONS),
        {"prompt": chat("hi", "hello", "and?"), "completion": [{"role": "assistant", "content": "that is all"}]},
        {"prompt": chat("a very long question " * 30), "completion": [{"role": "assistant", "content": "4"}]},
    ],
    "tools_as_json": [{"messages": chat("2 + 2?", "4"), "tools": json.dumps([TOOL])}, {"messages": chat("hi", "ho"), "tools": "[]"}],
    "tools_as_structs": [{"messages": chat("2 + 2?", "4"), "tools": [TOOL]}, {"messages": chat("3?", "4"), "tools": [TOOL]}],
    "template_arguments": [
        {
            "prompt": chat(row["question"]),
            "completion": [{"role": "assistant", "content": row["answer"]}],
            "chat_template_kwargs": {"thinking": thinking, "style": "brief" if thinking else "long"},
        }
        for row, thinking in zip(QUESTIONS, (True, False, False, True), strict=True)
    ],
    "input_ids": [{"input_ids": list(range(5, 5 + length))} for length in (1, 2, 20, 40, 90)],
    "input_ids_labels": [
        {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 9]},
        {"input_ids": list(range(5, 55)), "labels": [-100] * 45 + list(range(50, 55))},
        {"input_ids": list(range(5, 55)), "labels": list(range(5, 10)) + [-100] * 45},
        {"input_ids": [5, 6, 7], "labels": [-100] * 3},
        {"input_ids": [5, 6, 7], "labels": [5, -100, -100]},
    ],
    "input_ids_completion_mask": [
        {"input_ids": [5, 6, 7, 8], "completion_mask": [0, 0, 1, 1]},
        {"input_ids": list(range(5, 55)), "completion_mask": [0] * 45 + [1] * 5},
    ],
    "input_ids_assistant_masks": [
        {"input_ids": [5, 6, 7, 8], "assistant_masks": [0, 1, 0, 1]},
        {"input_ids": list(range(5, 55)), "assistant_masks": [0] * 45 + [1] * 5},
    ],
    "input_ids_both_masks": [
        {"input_ids": [5, 6, 7, 8], "assistant_masks": [0, 1, 0, 1], "completion_mask": [0, 0, 1, 1]},
        {"input_ids": [5, 6, 7, 8], "assistant_masks": [1, 1, 0, 0], "completion_mask": [0, 0, 1, 1]},
    ],
}  # fmt: skip
CHATS = ("messages", "prompt_completion_chat", "tools_as_json", "tools_as_structs", "template_arguments")
TOKENIZERS = ("no_bos", "bos", "gpt2", "stories260K")


def as_dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([{**row, "row_id": str(i)} for i, row in enumerate(rows)])


def trained_on(dataset: Any, tokenizer: Any, labels: Labels, folder: Path) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Tokens and labels by row id in the dataset of a real SFTTrainer; rows it drops are missing."""
    from trl import SFTConfig, SFTTrainer

    trainer = SFTTrainer(
        model=tiny_model(len(tokenizer)),
        args=SFTConfig(str(folder), report_to="none", bf16=False, use_cpu=True, **labels.sft_arguments()),
        train_dataset=dataset,
        processing_class=copy.deepcopy(tokenizer),
    )
    prepared = trainer.train_dataset
    return {row["row_id"]: (tuple(row["input_ids"]), tuple(row["labels"])) for row in prepared}


def seen(dataset: Any, tokenizer: Any, labels: Labels) -> dict[str, TokenRow]:
    tokenizer = prepare_tokenizer(copy.deepcopy(tokenizer), labels)
    return {row["row_id"]: token_row(row, tokenizer, labels) for row in dataset}


def assert_same(rows: list[dict[str, Any]], tokenizer: Any, labels: Labels, folder: Path) -> dict[str, TokenRow]:
    dataset = as_dataset(rows)
    theirs, ours = trained_on(dataset, tokenizer, labels, folder), seen(dataset, tokenizer, labels)
    special = set(prepare_tokenizer(copy.deepcopy(tokenizer), labels).all_special_ids)
    for row_id in [row_id for row_id, row in ours.items() if row.status == EMPTY_TEXT]:
        # SFTTrainer trains an empty text on its special tokens alone: no score of a row is made of that.
        assert {*theirs.pop(row_id)[0]} <= special
        assert ours.pop(row_id).input_ids == ()
    assert {row_id: (row.input_ids, row.labels) for row_id, row in ours.items() if row_id in theirs} == theirs
    dropped = {row_id for row_id in ours if row_id not in theirs}
    for row_id, row in ours.items():
        no_loss = row.status in (MASKED_BY_TRUNCATION, NO_LABELS)
        assert no_loss or row.status in (OK, TRUNCATED), row.status
        assert row.scorable is (row.num_targets > 0)
        if row_id in dropped:
            assert no_loss
        elif no_loss:  # SFTTrainer looks at the first label too, and at nothing when it does not truncate
            assert labels.max_length is None or theirs[row_id][1][0] != IGNORED
            assert set(theirs[row_id][1][1:]) <= {IGNORED}
    return ours


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("rows", FORMATS)
def test_every_format_is_read_as_sft_reads_it(rows: str, name: str, tmp_path: Path) -> None:
    labels = replace(PLAIN, dataset_text_field="story" if rows == "other_text_field" else "text")
    ours = assert_same(FORMATS[rows], tokenizer_named(name), labels, tmp_path)
    assert any(row.scorable for row in ours.values())


@pytest.mark.parametrize("completion_only_loss", [None, True, False])
@pytest.mark.parametrize("rows", [name for name in FORMATS if name != "other_text_field"])
def test_completion_only_loss(rows: str, completion_only_loss: bool | None, tokenizer: Any, tmp_path: Path) -> None:
    assert_same(FORMATS[rows], tokenizer, replace(PLAIN, completion_only_loss=completion_only_loss), tmp_path)


@pytest.mark.parametrize("completion_only_loss", [None, False])
@pytest.mark.parametrize("name", ["no_bos", "stories260K"])
@pytest.mark.parametrize("rows", CHATS)
def test_assistant_only_loss(rows: str, name: str, completion_only_loss: bool | None, tmp_path: Path) -> None:
    labels = replace(PLAIN, assistant_only_loss=True, completion_only_loss=completion_only_loss)
    ours = assert_same(FORMATS[rows], tokenizer_named(name), labels, tmp_path)
    assert all(IGNORED in row.labels and row.num_targets for row in ours.values())


@pytest.mark.filterwarnings("ignore:.*keep_end.*:FutureWarning")
@pytest.mark.parametrize("truncation_mode", ["keep_start", "keep_end"])
@pytest.mark.parametrize("max_length", [1, 24, 60, 1024])
@pytest.mark.parametrize(
    "rows", ["text", "prompt_completion", "messages", "prompt_completion_chat", "input_ids", "input_ids_labels"]
)
def test_truncation(rows: str, max_length: int, truncation_mode: Any, tokenizer: Any, tmp_path: Path) -> None:
    labels = Labels(max_length=max_length, truncation_mode=truncation_mode)
    ours = assert_same(FORMATS[rows], tokenizer, labels, tmp_path)
    whole = seen(as_dataset(FORMATS[rows]), tokenizer, PLAIN)
    for row_id, row in ours.items():
        assert (row.status == TRUNCATED) == (row.scorable and len(whole[row_id].input_ids) > max_length)
        assert (row.status == MASKED_BY_TRUNCATION) == (whole[row_id].scorable and not row.scorable)


def test_truncation_that_masks_some_rows_fully(tokenizer: Any, tmp_path: Path) -> None:
    ours = assert_same(FORMATS["prompt_completion"], tokenizer, Labels(max_length=60), tmp_path)
    statuses = {row.status for row in ours.values()}
    assert {OK, MASKED_BY_TRUNCATION} <= statuses
    ours = assert_same(FORMATS["messages"], tokenizer, Labels(max_length=60, assistant_only_loss=True), tmp_path)
    assert {OK, MASKED_BY_TRUNCATION} <= {row.status for row in ours.values()}


@pytest.mark.parametrize("rows", ["text", "prompt_completion", "messages"])
def test_eos_token(rows: str, tokenizer: Any, tmp_path: Path) -> None:
    ours = assert_same(FORMATS[rows], tokenizer, replace(PLAIN, eos_token="<|im_end|>"), tmp_path)  # noqa: S106
    if rows != "messages":  # a chat template brings its own
        assert ours["0"].labels[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_assistant_only_loss_reads_conversations_as_messages(tokenizer: Any, tmp_path: Path) -> None:
    labels, dataset = replace(PLAIN, assistant_only_loss=True), as_dataset(FORMATS["conversations"])
    with pytest.raises(ValueError, match="not conversational"):  # TRL looks before it converts
        trained_on(dataset, tokenizer, labels, tmp_path)
    messages = [
        {"messages": [{"role": turn["from"], "content": turn["value"]} for turn in row["conversations"]]}
        for row in dataset
    ]
    assert seen(dataset, tokenizer, labels) == assert_same(messages, tokenizer, labels, tmp_path)


def test_template_without_markers_is_replaced_by_trls_own(tokenizer: Any, tmp_path: Path) -> None:
    from trl.chat_template_utils import has_generation_markers, qwen3_chat_template

    assert not has_generation_markers(qwen3_chat_template)
    tokenizer.chat_template = qwen3_chat_template
    assert_same(FORMATS["messages"], tokenizer, replace(PLAIN, assistant_only_loss=True), tmp_path)


def test_unknown_template_without_markers_is_refused_before_any_row(tokenizer: Any) -> None:
    tokenizer.chat_template = CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    with pytest.raises(ValueError, match="template"):
        prepare_tokenizer(tokenizer, Labels(assistant_only_loss=True))


@pytest.mark.skipif(not GPT2.is_dir(), reason=f"{GPT2} is not here")
def test_gpt2_merges_across_the_prompt_boundary(tmp_path: Path) -> None:
    gpt2 = tokenizer_named("gpt2")
    rows = [{"prompt": "The answer is 4", "completion": "8 clips"}, {"prompt": "Cl: ", "completion": " yes"}]
    ours = assert_same(rows, gpt2, PLAIN, tmp_path)
    prompt = gpt2("The answer is 4")["input_ids"]
    assert ours["0"].input_ids[: len(prompt)] != tuple(prompt)
    assert ours["0"].labels[len(prompt) - 1] == ours["0"].input_ids[len(prompt) - 1]  # " 48" is a target


@pytest.mark.parametrize("name", ["gpt2", "stories260K"])
def test_real_rows_some_cut_some_masked(name: str, tmp_path: Path) -> None:
    rows = [{"prompt": row["question"] + "\n", "completion": row["answer"]} for row in gsm8k(60)]
    tokenizer = tokenizer_named(name)
    length = {"gpt2": 90, "stories260K": 200}[name]
    ours = assert_same(rows, tokenizer, Labels(max_length=length), tmp_path)
    assert {OK, TRUNCATED, MASKED_BY_TRUNCATION} == {row.status for row in ours.values()}


# What SFTTrainer cannot show, because it trains on it or stops.


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2 + 2 = ", "completion": ""},
        {"prompt": "2 + 2 = ", "completion": " \n"},
        {"prompt": "2 + 2 = ", "completion": None},
        {"prompt": chat("hi"), "completion": []},
        {"prompt": chat("hi"), "completion": [{"role": "assistant", "content": ""}]},
        {"prompt": chat("hi"), "completion": [{"role": "assistant", "content": None}]},
    ],
)
def test_empty_completion(row: dict[str, Any], tokenizer: Any) -> None:
    assert token_row(row, tokenizer, PLAIN) == TokenRow((), (), EMPTY_COMPLETION)


def test_sft_would_train_an_empty_completion_on_its_end_alone(tokenizer: Any, tmp_path: Path) -> None:
    dataset = as_dataset([{"prompt": "2 + 2 = ", "completion": ""}])
    (input_ids, targets) = trained_on(dataset, tokenizer, PLAIN, tmp_path)["0"]
    assert [target for target in targets if target != IGNORED] == [tokenizer.eos_token_id] == [input_ids[-1]]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": None}, "null"),
        ({"messages": None, "source": "x"}, "null"),
        ({"prompt": None, "completion": "4"}, "null"),
        ({"text": 5}, "AttributeError|TypeError"),
        ({"messages": []}, "IndexError"),
        ({"messages": [{"role": "user"}]}, "TemplateError|UndefinedError|TypeError"),
        ({"messages": chat("hi", "ho"), "tools": "{not json"}, "JSONDecodeError"),
        ({"prompt": "2 + 2 =", "completion": chat("4")}, ""),
        ({"conversations": chat("hi", "ho")}, "KeyError"),
        ({"input_ids": [1, 2, 3], "labels": [1, 2]}, "2 entries, expected 3"),
        ({"input_ids": [1, 2, 3], "assistant_masks": [0, 1]}, "2 entries, expected 3"),
        ({"input_ids": ["a"]}, "ValueError"),
    ],
)
def test_a_broken_row_gets_a_status(row: dict[str, Any], reason: str, tokenizer: Any) -> None:
    import re

    found = token_row(row, tokenizer, PLAIN)
    assert not found.scorable
    assert found.input_ids == found.labels == ()
    assert found.status.startswith(MALFORMED)
    assert re.search(reason, found.status), found.status
    assert len(found.status) <= 200


def test_null_columns_do_not_count(tokenizer: Any) -> None:
    plain = token_row({"text": "hello"}, tokenizer, PLAIN)
    assert token_row({"text": "hello", "messages": None, "tools": None, "prompt": None}, tokenizer, PLAIN) == plain


def test_assistant_only_loss_on_plain_text_is_malformed(tokenizer: Any) -> None:
    found = token_row({"text": "hello"}, tokenizer, replace(PLAIN, assistant_only_loss=True))
    assert "assistant_only_loss" in found.status


def test_a_row_without_assistant_turns_has_no_labels(tokenizer: Any) -> None:
    labels = replace(PLAIN, assistant_only_loss=True)
    assert token_row({"messages": chat("anyone there?")}, tokenizer, labels).status == NO_LABELS


@pytest.mark.parametrize("rows", ["conversations", "messages", "prompt_completion_chat", "tools_as_structs"])
def test_reading_a_row_leaves_it_as_it_was(rows: str, tokenizer: Any) -> None:
    row = copy.deepcopy(FORMATS[rows][0])
    first = token_row(row, tokenizer, PLAIN)
    assert row == FORMATS[rows][0]
    assert token_row(row, tokenizer, PLAIN) == first


def test_the_first_token_is_no_target(tokenizer: Any) -> None:
    found = token_row({"input_ids": [5, 6, 7], "labels": [5, -100, 7]}, tokenizer, PLAIN)
    assert (found.num_targets, found.status) == (1, OK)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ["prompt", "source"],
            r"`pool` has the columns \['prompt', 'source'\]: `completion` is missing.*Expected `text`",
        ),
        (["instruction", "output"], r"no training column found.*`messages`.*rename"),
    ],
)
def test_columns_of_no_format_are_the_datasets_fault(columns: list[str], message: str, tokenizer: Any) -> None:
    with pytest.raises(BadRow, match=message):
        check_columns(columns, PLAIN)
    with pytest.raises(BadRow, match=message):
        token_row(dict.fromkeys(columns, "x"), tokenizer, PLAIN)


def test_text_field_of_another_name(tokenizer: Any) -> None:
    labels = replace(PLAIN, dataset_text_field="story")
    check_columns(["story"], labels)
    with pytest.raises(BadRow):
        check_columns(["text"], labels)


def test_bad_options_are_refused(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="`max_length` is 0, expected at least 1"):
        Labels(max_length=0)
    with pytest.raises(ValueError, match="`eos_token` is '<nope>'"):
        prepare_tokenizer(tokenizer, Labels(eos_token="<nope>"))  # noqa: S106
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no end-of-sequence token"):
        prepare_tokenizer(tokenizer, PLAIN)


def test_labels_hand_every_option_to_sft() -> None:
    from dataclasses import fields

    from trl import SFTConfig

    given = Labels(max_length=7).sft_arguments()
    assert set(given) <= {f.name for f in fields(SFTConfig)}
    defaults = {f.name: f.default for f in fields(SFTConfig)}
    assert {name: defaults[name] for name in given} == Labels().sft_arguments()


def test_a_trl_that_is_too_old_is_no_fault_of_the_row(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import trl.data_utils

    monkeypatch.delattr(trl.data_utils, "common_prefix_length")
    with pytest.raises(MissingExtra, match=r"TRL 1\.14\.2 or newer.*pip install 'hf_datasel\[models\]'"):
        token_row({"prompt": "2 + 2 =", "completion": " 4"}, tokenizer, PLAIN)
