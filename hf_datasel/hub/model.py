"""The trained target on the Hub, with a card that names the very rows it was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import CommitOperationAdd

from hf_datasel.errors import PublishError
from hf_datasel.hub.card import render, scorer_line
from hf_datasel.hub.client import check_repo_id, client, retried
from hf_datasel.hub.dataset import Published
from hf_datasel.hub.landing import README
from hf_datasel.hub.provenance import shareable
from hf_datasel.hub.tree import TAGS


# What `from_pretrained` reads. Nothing else in the folder goes along: notes, checkpoints, pickled arguments.
MODEL_FILES = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "adapter_config.json",
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "chat_template.jinja", "chat_template.json",
    "*processor_config.json", "additional_chat_templates/*.jinja",
)  # fmt: skip


def publish_model(
    folder: str | Path,
    repo_id: str,
    trained_on: Published,
    *,
    base_model: str,
    training: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
    license: str | None = None,
    private: bool = True,
    dry_run: str | Path | None = None,
    token: str | None = None,
) -> str | None:
    """Put a trained model, or adapter, on the Hub, in one commit.

    Args:
        folder: what training left: safetensors, configuration, tokenizer.
        repo_id: NAMESPACE/NAME of a model repository; made if missing.
        trained_on: the published selection; its repository, configuration, commit and counts go into the card.
        base_model: what was fine-tuned.
        training: settings worth a line each, such as `{"steps": 200, "learning_rate": 1e-5}`.
        results: figures of a run, as `Run.report` writes them.
        license: of the weights.
        private: visibility of a repository that is made.
        dry_run: folder to write the card to instead; nothing is sent.
        token: of the Hub; by default the one you are logged in with.

    Returns:
        The commit; None for a dry run.

    Raises:
        PublishError: no weights in `folder`, no token, no right, or a failure that does not pass.
    """
    check_repo_id(repo_id)
    folder = Path(folder)
    files = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)})
    if not any(path.suffix == ".safetensors" for path in files):
        raise PublishError(f"`folder` {str(folder)!r} holds no safetensors, expected what training saved.")
    values = card_values(repo_id, trained_on, base_model, training or {}, results, license, folder)
    card = render("model_card.md.jinja", values)
    if dry_run is not None:
        Path(dry_run).mkdir(parents=True, exist_ok=True)
        (Path(dry_run) / README).write_text(card, encoding="utf-8")
        return None
    api = client(token)
    retried(partial(api.create_repo, repo_id, private=private, exist_ok=True), f"Creating {repo_id}")
    message = f"Fine-tuned on {trained_on.repo_id}, {trained_on.config_name}"

    def commit() -> str:
        # Anew for each attempt: the client asks which files are there already, and makes no empty commit.
        operations = [CommitOperationAdd(path.relative_to(folder).as_posix(), _content(path)) for path in files]
        operations.append(CommitOperationAdd(README, card.encode()))
        return str(api.create_commit(repo_id, operations, commit_message=message).oid)

    return retried(commit, f"Uploading to {repo_id}")


def _content(path: Path) -> Path | bytes:
    """A file as it goes up: an adapter's configuration names the place of its base model on this machine."""
    if path.name != "adapter_config.json":
        return path
    config = json.loads(path.read_text(encoding="utf-8"))
    return json.dumps(shareable(config), indent=2).encode()


def card_values(
    repo_id: str,
    trained_on: Published,
    base_model: str,
    training: Mapping[str, Any],
    results: Mapping[str, Any] | None,
    license: str | None,
    folder: Path,
) -> dict[str, Any]:
    """What the card says, as JSON-like values for `model_card.md.jinja`: see `publish_model`."""
    said = trained_on.provenance
    is_adapter = (folder / "adapter_config.json").is_file()
    # A folder of one's own is no model the Hub could link to.
    linked = {} if Path(base_model).exists() else {"base_model": base_model}
    metadata = {
        "library_name": "peft" if is_adapter else "transformers",
        **linked,
        **({"license": license} if license else {}),
        "datasets": [trained_on.repo_id],
        "tags": [*TAGS, "trl", "sft"],
        "pipeline_tag": "text-generation",
    }
    fields = ", ".join(f"{name}={value!r}" for name, value in said["rule"].items() if name != "rule")
    return {
        "metadata": yaml.safe_dump(metadata, sort_keys=False).strip(),
        "name": repo_id.split("/")[1],
        "base_model": shareable(base_model),
        "dataset": trained_on.repo_id,
        "config_name": trained_on.config_name,
        "commit": trained_on.commit,
        "light": trained_on.light,
        "rule": f"{said['rule']['rule']}({fields})",
        "counts": said["counts"],
        "threshold": said["threshold"],
        "kept_ids_sha256": said["kept_ids_sha256"],
        "training": training,
        "results": results,
        "scorers": [scorer_line(spec) for spec in said["scorers"]],
    }
