"""TIVE's working formulas by hand, and on real rows against products of all pairs."""

import pickle

import numpy as np
import pytest

from hf_datasel import TIVE, GradientStore, Labels, Proxy, SoftQuotas, score, select
from hf_datasel.errors import BadRow
from hf_datasel.proxy.gradient_store import GradientReader
from hf_datasel.scorers.task_influence import influence_on_task


LABELS = Labels(max_length=512)


def test_influence_on_the_own_task_by_hand():
    unit = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    found = [influence_on_task(own, unit.sum(0), 3) for own in unit]
    assert found == pytest.approx([0.7, 0.88, 0.78], abs=1e-12)
    assert influence_on_task(unit[0], unit[0], 1) == 0.0


@pytest.fixture(scope="module")
def learner(tiny_model, tmp_path_factory):
    store = GradientStore(str(tmp_path_factory.mktemp("store")), 1024, dtype="float32")
    return TIVE(Proxy(tiny_model), store, "kind", labels=LABELS)


def test_real_rows_against_all_pairs(learner, pool):
    kinds = ["even", "odd"] * 12
    kinds[5] = None
    rows = pool.add_column("kind", kinds)
    scorer = learner.fit(rows)
    found = rows.map(scorer, batched=True, batch_size=5)
    features = GradientReader(learner.store, learner.proxy, LABELS)(pool.to_list())
    directions = features.directions.astype(np.float64)
    for place, kind in enumerate(kinds):
        others = [other for other in range(24) if kinds[other] == kind and other != place]
        if kind is None:
            assert np.isnan(found["tive_influence"][place]) and found["tive_influence_status"][place] == "no_task"
            assert np.isnan(found["tive_self_influence"][place])
            continue
        expected = np.mean([directions[place] @ directions[other] for other in others])
        assert found["tive_influence"][place] == pytest.approx(expected, abs=1e-9)
        assert found["tive_self_influence"][place] == pytest.approx(features.gradient_norms[place] ** 2)
        assert abs(features.gradient_norms[place] - 1) > 0.01, "squared it would be the same"
    copy = pickle.loads(pickle.dumps(scorer))  # noqa: S301
    assert copy.spec == scorer.spec and copy(rows[:3])["tive_influence"].tolist() == found["tive_influence"][:3]


def test_the_whole_way_to_a_selection(learner, pool):
    rows = pool.add_column("kind", ["even", "odd"] * 12)
    scored = score(rows, learner, journal="off")
    weights = np.array(scored["tive_self_influence"]).reshape(12, 2).sum(0)
    kept = select(scored, SoftQuotas("tive_influence", "kind", "tive_self_influence", 0.25)).kept["kind"][:]
    share = weights[0] / weights.sum()
    assert len(kept) == 6 and abs(kept.count("even") - 6 * share) < 1


def test_a_pool_without_tasks_is_refused(learner, pool):
    with pytest.raises(BadRow, match="`task` is 'kind', expected a column of the pool"):
        learner.fit(pool)
    with pytest.raises(BadRow, match="`pool` has 24 rows and none with a task and a gradient"):
        learner.fit(pool.add_column("kind", [None] * 24))
