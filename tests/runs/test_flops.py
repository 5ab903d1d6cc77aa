"""Operations of a scorer: what happens once, and what every row costs."""

from datasets import Dataset
from torch.utils.flop_counter import FlopCounterMode

from hf_datasel import IFD, OneStepTrain, Perplexity, Proxy, ResponseLength
from hf_datasel.runs.flops import counted_flops


ROWS = [{"prompt": f"{number} + 1 = ", "completion": "2"} for number in range(100, 300)]  # all of one length


def whole(scorer, pool, monkeypatch):
    monkeypatch.setenv("HF_DATASEL_JOURNAL", "off")
    with FlopCounterMode(display=False) as counter:
        for start in range(0, len(pool), 50):
            scorer(pool[start : start + 50])
    return counter.get_total_flops()


def test_a_sample_says_what_all_rows_cost(tiny_model, anchors, monkeypatch):
    pool = Dataset.from_list(ROWS)
    for scorer in (Perplexity(Proxy(tiny_model)), OneStepTrain(Proxy(tiny_model), anchors)):
        counted = counted_flops(scorer, pool, rows=50)
        again = type(scorer)(*([scorer.proxy, scorer.anchors] if hasattr(scorer, "anchors") else [scorer.proxy]))
        assert 0.97 < counted / whole(again, pool, monkeypatch) < 1.03
    assert counted_flops(scorer, pool, rows=50) < counted  # the anchors' part is done


def test_a_forward_without_the_prompt_is_cheaper_than_one_with(tiny_model):
    pool = Dataset.from_list(ROWS)
    one, both = (counted_flops(scorer(Proxy(tiny_model)), pool) for scorer in (Perplexity, IFD))
    assert one < both < 2 * one
    assert counted_flops(ResponseLength(), pool) == 0.0
    assert counted_flops(Perplexity(Proxy(tiny_model)), pool.select([0])) > 0
