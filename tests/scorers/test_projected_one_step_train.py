"""First-order utility from the store against OneStepTrain's, by the error it states."""

from dataclasses import replace

import numpy as np
import pytest

from hf_datasel import GradientStore, Labels, OneStepTrain, ProjectedOneStepTrain, Proxy
from hf_datasel.scorers.projected_one_step_train import projected_product


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_it_agrees_with_one_step_train_up_to_the_error_it_states(tiny_model, pool, anchors, tmp_path, reduction):
    proxy, labels = Proxy(tiny_model), Labels(max_length=512)
    exact = OneStepTrain(proxy, anchors, reduction=reduction, labels=labels)(pool[:])
    scorer = ProjectedOneStepTrain(proxy, anchors, GradientStore(str(tmp_path), 8192), 1e-5, reduction, labels)
    found = scorer(pool[:])
    off = (found["projected_utility"] - exact["ost_utility"]) / found["projected_utility_error"]
    assert np.abs(off).max() < 4
    assert np.corrcoef(found["projected_utility"], exact["ost_utility"])[0, 1] > 0.9
    assert found["projected_row_loss"] == pytest.approx(exact["ost_row_loss"], rel=1e-5)
    # The error falls with the root of K, and so does what is stated.
    rough = replace(scorer, store=replace(scorer.store, dimensions=512))(pool[:])
    assert np.median(rough["projected_utility_error"] / found["projected_utility_error"]) == pytest.approx(4, rel=0.25)


def test_the_quadratic_toy_of_the_paper():
    """g_V = (-1, 0), rows -a: s = a_x; two dimensions, so nothing is lost. Errors by the formula, K = 2."""
    rows = -np.array([[3.0, 0.0], [3.0, 4.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    lengths = np.linalg.norm(rows, axis=1)
    product, error = projected_product(rows / lengths[:, None], lengths, np.array([-1.0, 0.0]))
    assert product.tolist() == pytest.approx([3.0, 3.0, 1.0, 0.0, -1.0], abs=1e-12)
    assert error.tolist() == pytest.approx(np.sqrt([9.0, 17.0, 1.0, 0.5, 1.0]).tolist(), abs=1e-12)


def test_a_step_that_is_none_is_refused(tiny_model, anchors):
    with pytest.raises(ValueError, match="`learning_rate` is 0, expected a positive step size"):
        ProjectedOneStepTrain(Proxy(tiny_model), anchors, GradientStore("x"), 0)
