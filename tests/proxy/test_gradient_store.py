"""What is in a store against gradients by torch's own backward pass; and that nothing is measured twice or lost."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from hf_datasel import GradientStore, Labels, Proxy, store_gradients
from hf_datasel.errors import DataselError
from hf_datasel.proxy.adam import AdamState
from hf_datasel.proxy.gradient_store import GradientReader
from hf_datasel.proxy.projection import Projection
from hf_datasel.proxy.row_gradients import RowGradients
from hf_datasel.rows.labels import TokenRow, prepare_tokenizer, token_row

from .families import plain_gradient


LABELS = Labels(max_length=512)
BAD = {"prompt": "Why?", "completion": ""}


def reader_in(folder, model, **options):
    store = GradientStore(str(folder), 1024, **options)
    return GradientReader(store, Proxy(model), LABELS)


@pytest.fixture(scope="module")
def rows(pool):
    return [*pool.select(range(12)).to_list(), BAD]


@pytest.fixture(scope="module")
def gradients(tiny_model, rows):
    """(12, P) by the model's own loss, float64."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    proxy = Proxy(tiny_model).load(LABELS)
    tokens = [token_row(row, prepare_tokenizer(proxy.tokenizer, LABELS), LABELS) for row in rows[:12]]
    return torch.stack([plain_gradient(model, its, proxy.parameters) for its in tokens]).numpy()


@pytest.mark.parametrize("kind", ["sparse", "rademacher", "gaussian"])
def test_lengths_losses_and_inner_products_of_real_rows(tmp_path, tiny_model, rows, gradients, kind):
    found = reader_in(tmp_path, tiny_model, projection=kind, dtype="float32")(rows)
    assert found.gradient_norms[:12] == pytest.approx(np.linalg.norm(gradients, axis=1), rel=1e-4)
    assert np.linalg.norm(found.directions[:12], axis=1) == pytest.approx(np.ones(12), rel=1e-6)
    vectors = found.directions[:12] * found.lengths[:12, None]
    error = vectors @ vectors.T - gradients @ gradients.T
    squares = (gradients**2).sum(1)
    stated = np.sqrt((squares[:, None] * squares + (gradients @ gradients.T) ** 2) / 1024)
    assert np.abs(error / stated).max() < 4  # rows are alike, and so are their errors: one draw of four deviations


def test_a_row_without_a_loss_is_flagged_and_not_a_number(tmp_path, tiny_model, rows):
    found = reader_in(tmp_path, tiny_model)(rows)
    again = reader_in(tmp_path, tiny_model)(rows)  # from the files
    for its in (found, again):
        assert its.status == ["ok"] * 12 + ["empty_completion"]
        assert its.scored.tolist() == [True] * 12 + [False]
        assert np.isnan(its.directions[12]).all() and np.isnan(its.losses[12]) and np.isnan(its.gradient_norms[12])


def test_a_gradient_that_is_not_finite_is_flagged(tiny_model):
    proxy = Proxy(tiny_model).load(LABELS)
    broken = RowGradients(proxy, Projection(64), change=lambda own: {name: value / 0 for name, value in own.items()})
    found = broken([TokenRow((1, 5, 6), (-100, 5, 6), "ok")])
    assert found.status == ["nan_gradient"] and not found.scored.any() and np.isnan(found.losses[0])


def test_a_second_reader_measures_only_what_is_missing_and_the_bits_are_those_of_one_pass(tmp_path, tiny_model, rows):
    whole = reader_in(tmp_path / "whole", tiny_model)(rows)
    part = reader_in(tmp_path / "parts", tiny_model)
    part(rows[3:8])
    other = reader_in(tmp_path / "parts", tiny_model)  # as another process, or the same run after a kill
    assert other.is_stored(rows).tolist() == [False] * 3 + [True] * 5 + [False] * 5
    (other.folder / "part-0.partial").write_bytes(b"half a file")
    found = other(rows)
    for name in ("directions", "lengths", "gradient_norms", "losses"):
        assert np.array_equal(getattr(found, name), getattr(whole, name), equal_nan=True), name
    stored = [Dataset.from_file(str(path)) for path in sorted(other.folder.glob("part-*.arrow"))]
    assert sorted(map(len, stored)) == [5, 8]
    # The first reader sees what the second has written, without a model.
    model = part.__dict__.pop("_gradients")
    assert part(rows).losses[0] == whole.losses[0] and "_gradients" not in part.__dict__ and model


def test_copies_are_measured_once_and_their_company_changes_nothing(tmp_path, tiny_model, rows):
    reader = reader_in(tmp_path, tiny_model)
    found = reader([rows[4], rows[0], rows[4]])
    assert np.array_equal(found.directions[0], found.directions[2])
    assert sum(map(len, reader._tables.values())) == 2
    alone = reader_in(tmp_path / "alone", tiny_model)([rows[4]])
    assert np.array_equal(found.directions[0], alone.directions[0])


def test_every_setting_that_changes_numbers_is_another_folder(tmp_path, tiny_model):
    first = reader_in(tmp_path, tiny_model)
    others = [
        reader_in(tmp_path, tiny_model, seed=1),
        reader_in(tmp_path, tiny_model, dtype="float32"),
        GradientReader(first.store, Proxy(tiny_model, dtype="float64"), LABELS),
        GradientReader(first.store, first.proxy, Labels(max_length=100)),
        GradientReader(first.store, first.proxy, LABELS, reduction="sum"),
    ]
    assert len({reader.folder for reader in (first, *others)}) == 6
    assert json.loads((first.folder / "spec.json").read_text())["dimensions"] == 1024


def test_float16_loses_little_and_takes_what_it_says(tmp_path, tiny_model, rows):
    rough, fine = (reader_in(tmp_path, tiny_model, dtype=dtype) for dtype in ("float16", "float32"))
    exact, found = fine(rows[:12]).directions, rough(rows[:12]).directions
    assert found == pytest.approx(exact, abs=5e-4)
    assert np.abs(found @ found.T - exact @ exact.T).max() < 1e-3
    for reader in (rough, fine):
        (path,) = reader.folder.glob("part-*.arrow")
        assert path.stat().st_size == pytest.approx(12 * reader.store.bytes_a_row, rel=0.1)


def test_a_damaged_file_is_named(tmp_path, tiny_model, rows):
    reader = reader_in(tmp_path, tiny_model)
    (reader.folder / "part-0.arrow").write_bytes(b"nothing of the kind")
    with pytest.raises(DataselError, match=r"`store` holds '.*part-0.arrow'.*Delete this file"):
        reader(rows[:1])


def test_less_makes_of_a_gradient_what_its_code_makes(tiny_model):
    """m = v = 0, g = (3, 4): both become 3.162, so the cosine with (1, 0) is .707, where the gradient's own is .6."""
    zero = {"w": torch.zeros(2, dtype=torch.float64)}
    state = AdamState(zero, zero, 7, (0.9, 0.999), 1e-8, {"w": 0.1})
    found = state.less_direction({"w": torch.tensor([3.0, 4.0], dtype=torch.float64)})["w"].numpy()
    assert found == pytest.approx([3.162, 3.162], abs=1e-3)
    assert found[0] / np.linalg.norm(found) == pytest.approx(0.707, abs=1e-3)
    # eps stands inside the root: .1 x 1e-5 / (.001 x 1e-10 + 1e-8)^.5, and not 3.162 once more.
    small = state.less_direction({"w": torch.full((2,), 1e-5, dtype=torch.float64)})["w"].numpy()
    assert small == pytest.approx([0.01, 0.01], rel=1e-4)


def test_the_pass_apart_counts_what_it_found(tmp_path, tiny_model, rows):
    store = GradientStore(str(tmp_path), 64)
    pool = Dataset.from_list(rows)
    assert store_gradients(pool, Proxy(tiny_model), store, labels=LABELS) == {"ok": 12, "empty_completion": 1}
    reader = GradientReader(store, Proxy(tiny_model), LABELS)
    assert reader.is_stored(pool.to_list()).all()


@pytest.mark.parametrize("wrong", [{"dimensions": 0}, {"projection": "dense"}, {"dtype": "bfloat16"}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` is .*, expected"):
        replace(GradientStore("somewhere"), **wrong)
