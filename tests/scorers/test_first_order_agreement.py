"""The fast estimator against the specification, on 150 real rows of a pretrained proxy."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from hf_datasel import Labels, OneStepTrain, Proxy


@pytest.mark.slow
def test_first_order_ranks_150_rows_as_the_exact_step_does(tiny_model, real_rows):
    pool, anchors = real_rows("pool.jsonl", 150), real_rows("held_out.jsonl", 6)
    first = OneStepTrain(Proxy(tiny_model, dtype="float64"), anchors, labels=Labels(max_length=512))
    exact = replace(first, estimator="exact", learning_rate=1e-5)
    truth = exact(pool[:])["ost_utility"]
    assert np.isfinite(truth).all() and len(np.unique(truth)) > 140
    assert spearmanr(first(pool[:])["ost_utility"], truth).statistic >= 0.999
