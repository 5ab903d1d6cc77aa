"""An accelerator gives the numbers of the processor, up to its arithmetic."""

import pytest
import torch
from scipy.stats import spearmanr

from hf_datasel import Labels, OneStepTrain, Perplexity, Proxy


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")]


def test_a_gpu_gives_the_numbers_of_the_processor(tiny_model, anchors, real_rows, monkeypatch):
    rows = real_rows("pool.jsonl", 40)[:]
    made = [
        lambda: OneStepTrain(Proxy(tiny_model), anchors, labels=Labels(max_length=512)),
        lambda: Perplexity(Proxy(tiny_model), labels=Labels(max_length=512)),
    ]
    on_gpu = [make()(rows) for make in made]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    utility, perplexity = [make()(rows) for make in made]
    assert on_gpu[1]["perplexity"] == pytest.approx(perplexity["perplexity"], rel=1e-3)
    assert spearmanr(on_gpu[0]["ost_utility"], utility["ost_utility"])[0] >= 0.999
