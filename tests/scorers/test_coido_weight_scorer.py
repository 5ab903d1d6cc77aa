"""The fitted scorer: signs, policies for incomplete rows, and the way to disk and to the Hub and back."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from datasets import Dataset

from hf_datasel.errors import DataselError
from hf_datasel.scorers.coido import FeatureBuilder, WeightScorer
from hf_datasel.scorers.coido.networks import KINDS, FoldedMLP, make_network
from hf_datasel.scorers.coido.weight_scorer import BLOCK


BUILDER = FeatureBuilder(("image", "words"), (3, 2), ("s",), (0.0,), (1.0,), (0.5,))


def scorer(kind="mlp", **changes):
    torch.manual_seed(1)
    network = {"kind": kind, "widths": [3, 2], "scores": 1, "width": 8, "dropout": 0.5}
    weights = {name: value.numpy() for name, value in make_network(**network).state_dict().items()}
    given = {
        "name": "coido",
        "features": BUILDER,
        "network": network,
        "weights": weights,
        "learned": {"learner": "CoIDO"},
    }
    return WeightScorer(**{**given, "quantiles": tuple(np.linspace(-1.0, 1.0, 101).tolist()), **changes})


def pool(num_rows=12, without_image=()):
    draw = np.random.default_rng(2)
    columns = {name: draw.normal(size=(num_rows, width)).tolist() for name, width in (("image", 3), ("words", 2))}
    for row in without_image:
        columns["image"][row] = None
    return Dataset.from_dict({"text": [f"row {n}" for n in range(num_rows)], **columns, "s": draw.random(num_rows)})


def test_the_lowest_weight_is_the_highest_score():
    linear = scorer(
        "linear", features=FeatureBuilder((), (), ("s",), (0.0,), (1.0,), (0.5,)),
        network={"kind": "linear", "widths": [], "scores": 1}, weights={"factors.weight": np.ones((1, 1), np.float32)},
    )  # fmt: skip
    found = linear({"s": [0.6, 0.25, 0.55]})
    assert found["coido_weight"] == pytest.approx([0.2, -0.5, 0.1])
    assert found["coido"].argmax() == 1


def test_parameters_of_the_first_release():
    assert sum(p.numel() for p in make_network("mlp", [768, 768], 3, width=256).parameters()) == 1_497_473


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_weighs_the_same_whatever_is_beside_it(kind):
    one = scorer(kind)
    whole = one(pool()[:])["coido"]
    assert np.isfinite(whole).all() and len(set(whole.round(6))) == 12
    alone = np.array(
        [one({name: values[n : n + 1] for name, values in pool()[:].items()})["coido"][0] for n in range(12)]
    )
    assert alone == pytest.approx(whole, abs=1e-6)
    assert one({name: values[3] for name, values in pool()[:].items()})["coido"] == pytest.approx(whole[3], abs=1e-6)
    assert pool().map(one)["coido"][:] == pytest.approx(whole, abs=1e-6)
    assert pool().map(one, batched=True)["coido"][:] == pytest.approx(whole, abs=1e-6)


def test_more_rows_than_are_read_at_a_time():
    one, rows = scorer(), pool(2 * BLOCK + 100)[:]
    halves = [one({name: values[part] for name, values in rows.items()}) for part in (slice(900), slice(900, None))]
    expected = np.concatenate([half["coido"] for half in halves])
    assert len(set(expected.round(6))) > BLOCK and one(rows)["coido"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("embedding", "scores"), [(6, 2), (6, 0), (0, 2)])
def test_the_folded_network_says_what_the_network_says(embedding, scores):
    torch.manual_seed(3)
    network = make_network("mlp", [embedding] if embedding else [], scores, width=16)
    for value in network.parameters():
        torch.nn.init.normal_(value)
    given = torch.randn(50, embedding), torch.randn(50, scores)
    folded = FoldedMLP(network).eval()
    assert sum(p.numel() for p in folded.parameters()) < sum(p.numel() for p in network.parameters())
    with torch.inference_mode():
        expected = network.eval()(*given)
        assert expected.std() > 1e-3 * expected.abs().mean()
        torch.testing.assert_close(folded(*given), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["random_share", "zeros", "not_scored"])
def test_rows_of_text_in_a_pool_of_images(policy):
    found = scorer(incomplete=policy)(pool(12, without_image=(2, 5))[:])
    complete = scorer()(pool()[:])
    others = [n for n in range(12) if n not in (2, 5)]
    assert found["coido"][others] == pytest.approx(complete["coido"][others], abs=1e-6)
    status, score, weight = ([found[name][n] for n in (2, 5)] for name in ("coido_status", "coido", "coido_weight"))
    if policy == "not_scored":
        assert status == ["missing_embedding"] * 2 and np.isnan(score).all()
    else:
        assert status == [policy] * 2 and np.isfinite(score).all() and score[0] != score[1]
    assert np.isnan(weight).all() == (policy != "zeros")


def test_a_random_share_of_incomplete_rows_is_the_share_of_the_others():
    count = 2000
    rows = {
        "text": [f"row {n}" for n in range(count)], "image": [None] * count, "words": [[1.0, 1.0]] * count,
        "s": [None] * count,
    }  # fmt: skip
    drawn = scorer(incomplete="random_share")
    found = drawn(rows)["coido"]
    assert (found > 0.6).mean() == pytest.approx(0.2, abs=0.03)  # a fifth of the quantiles
    turned = drawn({name: values[::-1] for name, values in rows.items()})["coido"]
    assert np.array_equal(turned[::-1], found)
    assert np.isnan(scorer()(rows)["coido"]).all()  # unless asked for, no score is made up


def test_the_one_embedding_may_be_the_image_s():
    # Rows of text then have no embedding at all, and the second no score either: the CLIP score needs an image, too.
    network = {"kind": "mlp", "widths": [3], "scores": 1, "width": 8, "dropout": 0.5}
    given = {"features": FeatureBuilder(("image",), (3,), ("s",), (0.0,), (1.0,), (0.5,)), "network": network}
    given["weights"] = {name: value.numpy() for name, value in make_network(**network).state_dict().items()}
    rows = {"text": list("abc"), "image": [None, None, [1.0, 0.0, 0.0]], "s": [0.9, None, 0.4]}
    expected = {
        "not_scored": ["missing_embedding", "no_features", "ok"],
        "zeros": ["zeros", "no_features", "ok"],
        "random_share": ["random_share", "random_share", "ok"],
    }
    for policy, status in expected.items():
        found = scorer(**given, incomplete=policy)(rows)
        assert found["coido_status"] == status
        assert np.isnan(found["coido"]).tolist() == [its in ("missing_embedding", "no_features") for its in status]
    with pytest.raises(ValueError, match="`quantiles` is empty"):
        scorer(**given, incomplete="random_share", quantiles=())


def test_rows_without_anything_and_without_a_score():
    rows = {"image": [None, [1.0, 0, 0]], "words": [None, [0, 1.0]], "s": [None, None]}
    found = scorer()(rows)
    assert found["coido_status"] == ["no_features", "missing_score"]
    assert np.isnan(found["coido"]).tolist() == [True, False]


def test_it_comes_back_from_disk_as_it_was(tmp_path):
    before = scorer()
    before.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert json.loads((tmp_path / "config.json").read_text())["features"]["scores"] == ["s"]
    after = WeightScorer.from_pretrained(tmp_path)
    assert after.spec == before.spec
    assert np.array_equal(after(pool()[:])["coido"], before(pool()[:])["coido"])
    assert pickle.loads(pickle.dumps(after)).spec == before.spec  # noqa: S301


def test_there_and_back_through_the_hub(hub):
    before = scorer()
    before.push_to_hub("tester/coido", private=True)
    newest = hub.repo("tester/coido", "model").head
    assert set(newest.files) >= {"README.md", "config.json", "model.safetensors"}
    assert newest.lfs == {"model.safetensors"}
    after = WeightScorer.from_pretrained("tester/coido", revision=newest.oid)
    assert after.spec == before.spec
    assert np.array_equal(after(pool()[:])["coido"], before(pool()[:])["coido"])


def test_what_is_no_scorer_is_said_to_be_none(tmp_path):
    with pytest.raises(DataselError, match="expected a folder or a repository with a saved WeightScorer"):
        WeightScorer.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(DataselError, match="expected a folder or a repository with a saved WeightScorer"):
        WeightScorer.from_pretrained(tmp_path)
