"""Bins and keys of rows, the leak guard, and the two readings of the text."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from datasets import Dataset
from datasets import Image as ImageFeature
from datasets.fingerprint import Hasher
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hf_datasel.errors import BadRow
from hf_datasel.scorers.goal import GoalBins, LeakGuard
from hf_datasel.scorers.goal.bins import TEMPORAL_WORDS, source_group
from hf_datasel.scorers.goal.text import normalised, words


def bins(row, **fields):
    found = GoalBins(**fields)({name: [value] for name, value in row.items()})
    return {name.removeprefix("goal_"): values[0] for name, values in found.items()}


PAIR = {"prompt": "What is this?", "completion": "A cat."}


@pytest.mark.parametrize(
    ("source", "group"),
    [
        ("nextqa_0-30_s_academic_v0_1", "nextqa_0-30_s_academic"),
        ("vqav2(cauldron)", "vqav2"),
        ("a_b_c", "a_b_c"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_source_groups_are_the_known_ones(source, group):
    assert source_group(source) == group
    assert bins({**PAIR, "from": source}, source="from")["source_group"] == group


@pytest.mark.parametrize(
    ("media", "bucket", "duration"),
    [
        ({"video": "a.mp4"}, "short_video", "unknown"),
        ({"videos": ["a.mp4"], "frames": 9}, "short_video", "short"),
        ({"images": ["a.png"]}, "image_qa", "image"),
        ({"images": ["a.png", "b.png"]}, "image_qa", "image"),
        ({"images": ["a.png"] * 32, "video_id": "v"}, "short_video", "medium"),
        ({"images": ["a.png"] * 8, "video_id": "v"}, "short_video", "very_short"),
        ({"images": [], "video_id": ""}, "text", "text"),
        ({"image": None}, "text", "text"),
    ],
)
def test_buckets_and_durations(media, bucket, duration):
    row = {**PAIR, "frames": None, "video_id": None, **media}
    num_frames = "frames" if media.get("frames") else None
    found = bins(row, video_id="video_id", num_frames=num_frames)
    assert (found["bucket"], found["duration"]) == (bucket, duration)


def test_a_video_without_an_id_is_known_by_its_media_and_one_with_an_id_by_that():
    assert (
        bins({**PAIR, "video": "a.mp4"})["video_id"] == bins({**PAIR, "video": "a.mp4", "prompt": "Why?"})["video_id"]
    )
    assert bins({**PAIR, "video": "a.mp4"})["video_id"] != bins({**PAIR, "video": "b.mp4"})["video_id"]
    assert bins({**PAIR, "images": ["f"], "video_id": 7}, video_id="video_id")["video_id"] == "7"
    assert bins({**PAIR, "images": ["f"]})["video_id"] is None


@pytest.mark.parametrize(
    ("frames", "duration"),
    [(1, "image"), (2, "very_short"), (8, "very_short"), (9, "short"), (24, "short"), (25, "medium"), (64, "medium"),
     (65, "long"), (160, "long"), (161, "very_long")],
)  # fmt: skip
def test_duration_bins_close_at_their_upper_end(frames, duration):
    assert bins({**PAIR, "video": "a.mp4", "frames": frames}, num_frames="frames")["duration"] == duration


def test_the_words_of_time_are_the_known_ones():
    known = "before after then while during first next finally sequence later earlier transition happen"
    assert set(known.split()) == TEMPORAL_WORDS


@pytest.mark.parametrize("fidelity", ["corrected", "authors"])
@pytest.mark.parametrize(
    ("num_words", "question", "answer"),
    [(2, "tiny", "tiny"), (3, "tiny", "short"), (6, "tiny", "short"), (7, "short", "short"), (8, "short", "short"),
     (9, "short", "medium"), (14, "short", "medium"), (15, "medium", "medium"), (24, "medium", "medium"),
     (25, "medium", "long"), (30, "medium", "long"), (31, "long", "long"), (60, "long", "long"),
     (61, "very_long", "long"), (64, "very_long", "long"), (65, "very_long", "very_long")],
)  # fmt: skip
def test_length_bins_close_at_their_upper_end(num_words, question, answer, fidelity):
    found = bins({"prompt": "a " * num_words, "completion": "b " * num_words}, fidelity=fidelity)
    assert (found["question_length"], found["answer_length"]) == (question, answer)


@pytest.mark.parametrize(
    ("question", "tag"),
    [
        ("What comes next?", "Temporal"),
        ("Hereafter?", "Mixed"),
        ("What happens?", "Mixed"),
        ("BEFORE it?", "Temporal"),
    ],
)
def test_only_whole_keywords_make_a_question_temporal(question, tag):
    assert bins({"prompt": question, "completion": "b", "video": "v"})["temporal"] == tag
    assert bins({"prompt": question, "completion": "b", "image": "v"})["temporal"] == "Static"


def test_the_leak_guard_reads_the_text_of_an_evaluation_set_alone(tmp_path):
    rows = Dataset.from_dict(
        {"prompt": ["Who won?"], "completion": ["She did."], "image": [str(tmp_path / "missing")]}
    )
    guard = LeakGuard(rows.cast_column("image", ImageFeature()))  # an image that is read would fail
    assert guard({"prompt": ["Who won?"], "completion": ["No."]})["leaked"] == [1]


def test_the_fingerprint_of_the_leak_guard_is_the_same_whatever_the_hash_seed(in_new_process):
    code = (
        "from datasets.fingerprint import Hasher\n"
        "from hf_datasel.scorers.goal import LeakGuard\n"
        "rows = [{'prompt': f'{n}?', 'completion': 'So.'} for n in range(30)]\n"
        "print(Hasher.hash(LeakGuard(rows)))"
    )
    assert in_new_process(code, hash_seed=1) == in_new_process(code, hash_seed=2)


@pytest.mark.parametrize(("verdict", "tag"), [(1.0, "Temporal"), (0.5, "Mixed"), (0.0, "Static"), (None, "Mixed")])
def test_a_probes_verdict_can_take_the_place_of_keywords(verdict, tag):
    row = {"prompt": "What comes after?", "completion": "b", "video": "v", "tnc": verdict}
    assert bins(row, temporal="tnc")["temporal"] == tag


def test_multiple_choice_is_found_before_newlines_go():
    asked = {"prompt": "Which?\nA) cat\nB) dog", "completion": "A"}
    assert bins(asked)["form"] == "MCQ"
    assert bins(asked, fidelity="authors")["form"] == "Open"
    assert bins({**asked, "prompt": "Your choice?"}, fidelity="authors")["form"] == "MCQ"
    assert bins({**asked, "prompt": "Why did\nA. Smith leave?"})["form"] == "Open"


def test_text_in_another_script_has_words_unless_the_authors_count_them():
    assert len(words("这张图里有什么")) == 7 and words("这张图里有什么", "authors") == []
    assert words("Что это?") == ["что", "это"]
    # A letter that ASCII does not have ends a word for the authors.
    asked = {"prompt": "Thenán?", "completion": "b", "video": "v"}
    assert [bins(asked, fidelity=its)["temporal"] for its in ("corrected", "authors")] == ["Mixed", "Temporal"]


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_on_ascii_both_readings_agree(text):
    assert words(text) == words(text, "authors")


@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    assert normalised(normalised(text)) == normalised(text)


def test_every_format_says_the_same():
    parts = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    rows = [
        PAIR,
        {"question": "What is this?", "answer": "A cat."},
        {"prompt": [{"role": "user", "content": parts}], "completion": [{"role": "assistant", "content": "A cat."}]},
        {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "<image> What is  this?"},
                      {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}]},
        {"conversations": [{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "A cat."}]},
    ]  # fmt: skip
    found = [bins(row) for row in rows]
    assert all(row == found[0] for row in found[1:])


def test_keys_tell_copies_by_text_and_by_media():
    image = Image.new("RGB", (4, 4), (1, 2, 3))
    same, other = Image.new("RGB", (4, 4), (1, 2, 3)), Image.new("RGB", (4, 4), (1, 2, 4))
    turned = [Image.new("RGB", (2, 8), (1, 2, 3)), np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)]
    keys = [bins({**PAIR, "image": item})["media_key"] for item in (image, same, other, *turned)]
    assert keys[0] == keys[1] and len(set(keys)) == 5
    assert bins({**PAIR, "prompt": " What\nis this? "})["text_key"] == bins(PAIR)["text_key"]
    assert bins({**PAIR, "completion": "A dog."})["text_key"] != bins(PAIR)["text_key"]
    assert bins(PAIR)["media_key"] is None


def test_keys_are_the_same_whatever_the_hash_seed(in_new_process):
    code = (
        "from hf_datasel.scorers.goal import GoalBins\n"
        "print(GoalBins()({'prompt': ['What is this?'], 'completion': ['A cat.'], 'image': ['a.png']}))"
    )
    assert in_new_process(code, hash_seed=1) == in_new_process(code, hash_seed=2)


def test_one_row_at_a_time_is_the_same():
    pool = Dataset.from_list([{**PAIR, "images": ["a"]}, {**PAIR, "images": ["a", "b"]}])
    assert pool.map(GoalBins()).to_list() == pool.map(GoalBins(), batched=True).to_list()


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="`fidelity` is 'author', expected 'corrected' or 'authors'"):
        GoalBins(fidelity="author")
    with pytest.raises(BadRow, match=r"names the columns \['src'\], expected them among"):
        bins(PAIR, source="src")
    with pytest.raises(BadRow, match="`kind` is 'audio', expected 'image_qa'"):
        bins({**PAIR, "kind": "audio"}, bucket="kind")
    with pytest.raises(BadRow, match=r"`row` has the columns \['image'\], expected `prompt`"):
        bins({"image": "a"})
    with pytest.raises(BadRow, match="holds media of type float"):
        bins({**PAIR, "image": 1.5})


def test_the_leak_guard_compares_by_question_by_pair_or_by_either():
    evaluation = [
        {"messages": [{"role": "user", "content": "Who won?"}, {"role": "assistant", "content": "She did."}]}
    ]
    rows = {"prompt": ["Who  won?", "Who won?", "Who lost?"], "completion": ["She\ndid.", "He did.", "She did."]}
    found = {mode: LeakGuard(evaluation, mode)(rows)["leaked"] for mode in ("question", "question_answer", "both")}
    assert found == {"question": [1, 1, 0], "question_answer": [1, 0, 0], "both": [1, 1, 0]}


def test_the_leak_guard_knows_nothing_of_empty_questions_and_travels_light():
    guard = LeakGuard([{"text": "A."}, {"prompt": "Who won?", "completion": "She did."}])
    assert guard({"text": ["A."]})["leaked"] == [0]
    pool = Dataset.from_dict({"prompt": ["Who won?"] * 4, "completion": ["It did."] * 4})
    assert pool.map(guard, batched=True, num_proc=2)["leaked"][:] == [1] * 4
    copy = pickle.loads(pickle.dumps(guard))  # noqa: S301 (our own bytes)
    assert copy({"prompt": ["Who won?"], "completion": ["It did."]})["leaked"] == [1]
    assert Hasher.hash(copy) == Hasher.hash(guard)
    assert guard.spec == LeakGuard([{"prompt": "Who won?", "completion": "She did."}]).spec
    with pytest.raises(ValueError, match="`evaluation` has no rows"):
        LeakGuard([])
    with pytest.raises(ValueError, match="`mode` is 'all', expected one of"):
        LeakGuard([PAIR], mode="all")
