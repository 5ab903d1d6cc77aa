"""One-Step-Train at several states of its proxy: every number is the mean of theirs."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from datasets.fingerprint import Hasher
from safetensors.numpy import load_file, save_file

from hf_datasel import Labels, OneStepTrain, Proxy
from hf_datasel.rows.journal import spec_key


def moved(model, folder, seed):
    """A copy of a model with every weight a little elsewhere."""
    shutil.copytree(model, folder)
    weights, draw = load_file(folder / "model.safetensors"), np.random.default_rng(seed)
    save_file({n: w + 0.02 * draw.normal(size=w.shape).astype(w.dtype) for n, w in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    return str(folder)


@pytest.fixture(scope="module")
def other(tiny_model, tmp_path_factory):
    return moved(tiny_model, tmp_path_factory.mktemp("states") / "step-10", seed=1)


@pytest.mark.parametrize(
    "options",
    [
        {"token_level": True, "also": ("perplexity", "el2n")},
        {"estimator": "exact", "learning_rate": 1e-3},
        {"normalize": "cosine"},
    ],
)
def test_every_number_is_the_mean_of_those_at_each_state(tiny_model, other, pool, anchors, options):
    few = anchors.select(range(4))
    scorer = OneStepTrain(Proxy(tiny_model), few, labels=Labels(max_length=512), **options)
    rows = pool[:6]
    one, two = scorer(rows), replace(scorer, proxy=Proxy(other))(rows)
    both = replace(scorer, checkpoints=[other])(rows)
    for name in scorer.columns:
        if name == "ost_token_utility":
            for found, a, b in zip(both[name], one[name], two[name], strict=True):
                assert found == pytest.approx((np.array(a) + np.array(b)) / 2, rel=1e-6, abs=1e-12)
        elif both[name] is not None and isinstance(both[name], np.ndarray):
            assert both[name] == pytest.approx((one[name] + two[name]) / 2, rel=1e-6, nan_ok=True)
        else:
            assert both[name] == one[name]  # status, texts
    assert not np.allclose(one["ost_utility"], two["ost_utility"], rtol=1e-2)


def test_the_states_are_in_the_key_and_the_fingerprint(tiny_model, other, anchors, tmp_path):
    alone = OneStepTrain(Proxy(tiny_model), anchors, labels=Labels(max_length=512))
    folder = tmp_path / "state"
    shutil.copytree(other, folder)

    def keys():
        scorer = replace(alone, checkpoints=[str(folder)])
        return spec_key(scorer.spec), Hasher.hash(scorer)

    before = keys()
    assert "checkpoints" not in alone.spec
    assert before == keys()
    assert before[0] != spec_key(alone.spec) and before[1] != Hasher.hash(alone)
    shutil.rmtree(folder)
    moved(tiny_model, folder, seed=2)  # the same place, other weights
    assert before[0] != keys()[0] and before[1] != keys()[1]


def test_the_report_names_the_engine_of_each_state(tiny_model, other, anchors):
    scorer = OneStepTrain(
        Proxy(tiny_model), anchors.select(range(4)), labels=Labels(max_length=512), checkpoints=[other]
    )
    report = scorer.engine_report
    assert report["engine"] == report["checkpoints"][0]["engine"] == "forward_mode"
    assert max(report["difference"], report["checkpoints"][0]["difference"]) < 1e-5
