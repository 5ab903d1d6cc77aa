"""What datasets, transformers and cards push comes back."""

from __future__ import annotations

import pytest
from huggingface_hub import RepoCard

from .conftest import API, write
from .server import LoopbackHub


def test_text_rows_round_trip(hub: LoopbackHub) -> None:
    from datasets import Dataset, load_dataset

    rows = {"text": ["eins", "zwei 日本", "drei"], "score": [0.5, 1.5, None]}
    Dataset.from_dict(rows).push_to_hub("tester/rows")
    assert load_dataset("tester/rows", split="train").to_dict() == rows
    newest = hub.repo("tester/rows").head
    assert set(newest.files) == {".gitattributes", "README.md", "data/train-00000-of-00001.parquet"}
    assert newest.lfs == {"data/train-00000-of-00001.parquet"}


def test_images_round_trip(hub: LoopbackHub) -> None:
    from datasets import Dataset, Image, load_dataset
    from PIL import Image as Pillow

    images = [Pillow.new("RGB", (4, 3), color) for color in ("red", "navy")]
    Dataset.from_dict({"image": images}).cast_column("image", Image()).push_to_hub("tester/images")
    found = load_dataset("tester/images", split="train")["image"]
    assert [image.tobytes() for image in found] == [image.tobytes() for image in images]


def test_splits_and_configurations(hub: LoopbackHub) -> None:
    from datasets import Dataset, DatasetDict, get_dataset_config_names, load_dataset

    splits = {"train": Dataset.from_dict({"a": [1, 2]}), "test": Dataset.from_dict({"a": [3]})}
    DatasetDict(splits).push_to_hub("tester/rows", "selected", set_default=True)
    Dataset.from_dict({"b": ["x"]}).push_to_hub("tester/rows", "scores")
    assert get_dataset_config_names("tester/rows") == ["scores", "selected"]
    found = load_dataset("tester/rows")
    assert {name: rows["a"] for name, rows in found.items()} == {"train": [1, 2], "test": [3]}
    assert load_dataset("tester/rows", "scores", split="train")["b"] == ["x"]


def test_fewer_shards_leave_no_stale_ones(hub: LoopbackHub) -> None:
    from datasets import Dataset, load_dataset

    def shards() -> list[str]:
        return sorted(path for path in hub.repo("tester/rows").head.files if path.endswith(".parquet"))

    Dataset.from_dict({"a": [1, 2, 3]}).push_to_hub("tester/rows", num_shards=3)
    assert len(shards()) == 3
    Dataset.from_dict({"a": [4, 5, 6]}).push_to_hub("tester/rows", num_shards=2)
    assert shards() == ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
    assert load_dataset("tester/rows", split="train")["a"] == [4, 5, 6]


def test_rows_in_a_pull_request_and_on_a_branch(hub: LoopbackHub) -> None:
    from datasets import Dataset, load_dataset

    API.create_repo("tester/rows", repo_type="dataset")
    done = Dataset.from_dict({"a": [1]}).push_to_hub("tester/rows", create_pr=True)
    Dataset.from_dict({"a": [2]}).push_to_hub("tester/rows", revision="exp1")
    assert done.pr_revision == "refs/pr/1"
    assert load_dataset("tester/rows", revision="refs/pr/1", split="train")["a"] == [1]
    assert load_dataset("tester/rows", revision="exp1", split="train")["a"] == [2]
    assert len(hub.commits("tester/rows")) == 1


def test_streaming_reads_parts(hub: LoopbackHub) -> None:
    from datasets import Dataset, load_dataset

    Dataset.from_dict({"a": [1, 2, 3]}).push_to_hub("tester/rows")
    assert [row["a"] for row in load_dataset("tester/rows", split="train", streaming=True)] == [1, 2, 3]
    assert {status for _, _, status in hub.requests("GET", "parquet")} == {206}


def test_a_model_round_trips(hub: LoopbackHub, tiny_model: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.push_to_hub("acme/tiny", private=True)
    AutoTokenizer.from_pretrained(tiny_model).push_to_hub("acme/tiny")
    files = hub.repo("acme/tiny", "model").head
    assert files.lfs == {"model.safetensors"}
    assert {"config.json", "tokenizer.json"} < set(files.files)
    found = AutoModelForCausalLM.from_pretrained("acme/tiny").state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in model.state_dict().items())
    text = "Once upon a time"
    tokens = [AutoTokenizer.from_pretrained(source)(text)["input_ids"] for source in ("acme/tiny", tiny_model)]
    assert tokens[0] == tokens[1]


def test_a_card_is_validated_and_pushed(hub: LoopbackHub, repo: str) -> None:
    RepoCard("---\nlicense: mit\n---\n# Rows\n").push_to_hub(repo, repo_type="dataset")
    assert hub.repo(repo).head.files["README.md"].endswith(b"# Rows\n")
    assert API.dataset_info(repo).card_data.license == "mit"
    for card in ("---\nlicense: [mit\n---\n", "---\njust a word\n---\n"):
        with pytest.raises(ValueError, match="Invalid metadata"):
            write(repo, path="README.md", content=card.encode())
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        write(repo, path="README.md", content=b"# No metadata\n")
    assert len(hub.commits(repo)) == 4
