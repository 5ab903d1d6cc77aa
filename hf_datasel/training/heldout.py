"""How well a trained model does on rows it never saw: its loss, from a plain model."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from hf_datasel.errors import BadRow
from hf_datasel.proxy.batch_size import IMAGE_ROWS
from hf_datasel.proxy.proxy import LoadedProxy, encode
from hf_datasel.rows.identity import with_encoded_media
from hf_datasel.rows.labels import Labels, TokenRow, check_columns, prepare_tokenizer
from hf_datasel.rows.reader import load_reader, model_class, tokenizer_of
from hf_datasel.rows.vision import IMAGES


if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from hf_datasel.rows.reader import Reader

logger = logging.getLogger(__name__)


def heldout_loss(
    model: str | Path | PreTrainedModel,
    dataset: Dataset,
    labels: Labels,
    batch_size: int = 8,
    tokenizer: Reader | None = None,
    revision: str | None = None,
) -> float:
    """Mean over rows of each row's mean loss over its target tokens, in nats per token. Lower is better.

    Every row counts the same, however long. SFT's own loss counts every token the same, so the two differ. Cost per
    row: 1 F. Batches change the last digits only; sums are in float64.

    Args:
        model: folder or Hub id, or a model from `from_pretrained`. A trainer's own copy has its forward replaced:
            load the folder it saved instead.
        dataset: N rows in any format of TRL's SFT.
        labels: the options shared with scoring and training.
        batch_size: B, rows a forward pass.
        tokenizer: of a model that is already loaded, or its processor.
        revision: branch, tag or commit of a Hub id.

    Raises:
        BadRow: no training column, or no row with a loss.
        ValueError: a loaded model without its tokenizer.

    Source: https://huggingface.co/papers/2605.07488, Eq. 1 (the anchor loss, here on held-out rows).
    """
    check_columns(dataset.column_names, labels)
    loaded = loaded_model(model, tokenizer, labels, revision)
    found: list[float] = []
    statuses: Counter[str] = Counter()
    was_training = loaded.model.training
    loaded.model.eval()
    try:
        for part in portions(with_encoded_media(dataset.with_format(None))):
            encoded = [encode(row, loaded, labels) for row in part]
            statuses.update(row.status.split(":")[0] for row in encoded if not row.scorable)
            found += _losses([row for row in encoded if row.scorable], loaded, batch_size)
    finally:
        loaded.model.train(was_training)
    if not found:
        raise BadRow(f"`dataset` has no row with a loss ({dict(statuses)}), expected at least one.")
    if statuses:
        logger.warning("%d of %d held-out rows have no loss: %s.", statuses.total(), len(dataset), dict(statuses))
    return math.fsum(found) / len(found)


def portions(rows: Dataset) -> Iterator[Dataset]:
    """All rows of text together; rows with images few at a time, which bounds the memory of their pixels."""
    size = max(1, len(rows)) if set(IMAGES).isdisjoint(rows.column_names) else IMAGE_ROWS
    for start in range(0, len(rows), size):
        yield rows.select(range(start, min(start + size, len(rows))))


def _losses(rows: Sequence[TokenRow], loaded: LoadedProxy, batch_size: int) -> list[float]:
    """Of B rows with a loss, in any order."""
    import torch

    from hf_datasel.proxy.losses import collate, row_values, token_losses

    found: list[float] = []
    with torch.no_grad():
        for chosen in longest_first([len(row.input_ids) for row in rows], batch_size, "Held-out loss"):
            batch = collate([rows[i] for i in chosen], loaded)
            losses = token_losses(loaded, loaded.parameters, batch, precise=True)
            found += row_values(losses, batch, "mean").tolist()
    return found


def loaded_model(
    model: str | Path | PreTrainedModel,
    reader: Reader | None,
    labels: Labels,
    revision: str | None,
) -> LoadedProxy:
    """A model that is loaded already, or its folder's, as it is: no parameter of it is chosen."""
    import torch

    plain: Any = model
    if isinstance(model, str | Path):
        kind = model_class(str(model), revision=revision)
        plain = kind.from_pretrained(str(model), revision=revision, dtype=torch.float32, use_safetensors=True)
        plain.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        reader = reader or load_reader(str(model), labels, revision=revision)
    if reader is None:
        raise ValueError("`tokenizer` is None, expected the tokenizer of the loaded `model`, or a folder as `model`.")
    parameters = {name: parameter.detach() for name, parameter in plain.named_parameters()}
    prepared = prepare_tokenizer(tokenizer_of(reader), labels, getattr(reader, "chat_template", None))
    return LoadedProxy(plain, prepared, parameters, reader)


def longest_first(lengths: Sequence[int], batch_size: int, what: str) -> Iterator[list[int]]:
    """Row numbers, longest first: a shortage of memory shows at once, and little is padded."""
    if batch_size < 1:
        raise ValueError(f"`batch_size` is {batch_size}, expected at least 1.")
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    for start in tqdm(range(0, len(order), batch_size), desc=what, delay=1):
        yield order[start : start + batch_size]
