"""Where a selection comes from, as JSON: which rule, which data, which versions."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from hf_datasel.errors import BadBudget, shown


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.contracts import Rule

PACKAGES = ("hf_datasel", "datasets", "numpy", "pyarrow")
IF_INSTALLED = ("torch", "transformers", "trl", "peft")  # what scorers may have run on


def rule_spec(rule: Rule) -> dict[str, Any]:
    """A rule as JSON-like values: its class under `rule`, then its fields.

    Raises:
        BadBudget: the rule is not a dataclass instance, or a field is not JSON-like.

    Example:
        >>> from hf_datasel.selectors import TopCount
        >>> rule_spec(TopCount("s", 3))
        {'rule': 'TopCount', 'column': 's', 'count': 3}
    """
    if not dataclasses.is_dataclass(rule) or isinstance(rule, type):
        raise BadBudget(
            f"`rule` is {shown(rule)}, expected an instance of a frozen dataclass with a `rank` method, "
            f"e.g. TopFraction('score', 0.2)."
        )
    fields = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}
    return {"rule": type(rule).__name__, **json_like(fields, "rule")}


def json_like(values: dict[str, Any], argument: str) -> dict[str, Any]:
    """The values as they come back from JSON: numpy numbers as numbers, tuples as lists.

    Raises:
        BadBudget: a value has no JSON form.

    Example:
        >>> json_like({"sizes": (1, 2)}, "rule")
        {'sizes': [1, 2]}
    """
    try:
        plain: dict[str, Any] = json.loads(json.dumps(values, default=_plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadBudget(
            f"`{argument}` holds {shown(values)}, expected text, numbers, booleans, None, and lists or dicts of these "
            f"({error}). Describe other objects by a name or a digest."
        ) from error
    return plain


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):  # a rule's settings
        return dataclasses.asdict(value)
    raise TypeError(f"found a {type(value).__name__}")


def data_identity(pool: Dataset, row_ids: Any) -> dict[str, Any]:
    """Which data a selection was made from.

    `fingerprint` is `datasets`' own and follows every operation on the data; `row_ids_digest` depends on the set of
    rows alone, so it is the same for a shuffled pool or one with more columns.

    Args:
        pool: N rows.
        row_ids: their ids, a pyarrow array of N texts.
    """
    digest = blake2b(digest_size=16)
    ordered = row_ids.take(pc.sort_indices(row_ids))
    for start in range(0, len(ordered), 65_536):
        digest.update(json.dumps(ordered[start : start + 65_536].to_pylist()).encode())
    return {"fingerprint": pool._fingerprint, "row_ids_digest": digest.hexdigest(), "num_rows": len(pool)}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages a selection depends on.

    Example:
        >>> sorted(package_versions())[:2]
        ['datasets', 'hf_datasel']
    """
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # run from a source tree that was never installed
            versions[name] = "unknown"
    for name in IF_INSTALLED:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
