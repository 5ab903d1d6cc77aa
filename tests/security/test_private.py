"""Is what is published private unless somebody says otherwise? And does it stay as its owner set it?"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import Dataset
from huggingface_hub import HfApi

from hf_datasel import TopCount, publish, publish_model, publish_page, select
from hf_datasel.cli import main
from hf_datasel.recipe.schema import PublishSection

from ..scorers.test_coido_weight_scorer import scorer


CHOSEN = select(Dataset.from_dict({"text": ["a", "b", "c"], "s": [3.0, 2.0, 1.0]}), TopCount("s", 1))
MORE = select(Dataset.from_dict({"text": ["a", "b", "c"], "s": [3.0, 2.0, 1.0]}), TopCount("s", 2))


def rows(hub: Any, model: str, folder: Path, again: bool, **options: Any) -> str:
    publish(MORE if again else CHOSEN, "tester/rows", plots=False, token=hub.token, **options)
    return "dataset"


def model(hub: Any, model: str, folder: Path, again: bool, **options: Any) -> str:
    shown = publish(CHOSEN, "tester/rows", plots=False, dry_run=folder / "dry")
    publish_model(model, "tester/rows", shown, base_model=f"m{again}", token=hub.token, **options)
    return "model"


def page(hub: Any, model: str, folder: Path, again: bool, **options: Any) -> str:
    shown = publish(CHOSEN, "tester/rows", plots=False, dry_run=folder / "dry")
    (folder / "page.html").write_text(f"<p>{again}")
    publish_page(folder / "page.html", "tester/rows", shown, token=hub.token, **options)
    return "space"


@pytest.mark.parametrize("send", [rows, model, page])
def test_a_repository_that_is_made_is_private_unless_asked(
    send: Callable[..., str], hub: Any, tiny_model: str, tmp_path: Path
) -> None:
    kind = send(hub, tiny_model, tmp_path, False)
    assert hub.repo("tester/rows", kind).private
    hub.reset()
    send(hub, tiny_model, tmp_path, False, private=False)
    assert not hub.repo("tester/rows", kind).private


@pytest.mark.parametrize("send", [rows, model, page])
@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("options", [{}, {"private": True}, {"private": False}])
def test_publishing_again_leaves_it_as_it_is(
    send: Callable[..., str], made: bool, options: dict[str, Any], hub: Any, tiny_model: str, tmp_path: Path
) -> None:
    kind = send(hub, tiny_model, tmp_path, False, private=made)
    before = len(hub.commits("tester/rows", kind))
    send(hub, tiny_model, tmp_path, True, **options)
    assert hub.repo("tester/rows", kind).private == made and len(hub.commits("tester/rows", kind)) > before
    HfApi(token=hub.token).update_repo_settings("tester/rows", repo_type=kind, private=not made)
    send(hub, tiny_model, tmp_path, False, **options)
    assert hub.repo("tester/rows", kind).private != made


def test_the_command_line_is_as_private(hub: Any, tmp_path: Path) -> None:
    Dataset.from_dict({"prompt": ["a", "b"], "completion": ["c d", "e"]}).to_json(tmp_path / "pool.jsonl")
    values = {
        "pool": {"path": "pool.jsonl"}, "score": {"scorers": [{"ResponseLength": {}}]},
        "select": {"TopCount": {"column": "response_length", "count": 1}},
        "publish": {"repo_id": "tester/rows", "space_repo_id": "tester/look", "license": "mit"},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    given = ["publish", str(tmp_path / "recipe.yaml"), "--output-dir", str(tmp_path / "run")]
    assert main(given) == 0
    assert hub.repo("tester/rows").private and hub.repo("tester/look", "space").private
    hub.reset()
    assert main([*given, "--set", "publish.private=false"]) == 0
    assert not hub.repo("tester/rows").private and not hub.repo("tester/look", "space").private


def test_it_is_the_default_wherever_it_can_be_said() -> None:
    assert all(
        signature(its).parameters["private"].default is True
        for its in (publish, publish_model, publish_page, PublishSection)
    )


def test_a_weight_scorer_is_pushed_as_private(hub: Any) -> None:
    for options, private in (({}, True), ({"private": False}, False)):
        hub.reset()
        scorer().push_to_hub("tester/coido", **options)
        assert hub.repo("tester/coido", "model").private == private
