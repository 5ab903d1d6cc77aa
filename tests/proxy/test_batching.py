"""Rows in batches of like length: little padding, and smaller batches when memory runs short."""

import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from hf_datasel import OneStepTrain, Proxy
from hf_datasel.proxy import utility
from hf_datasel.proxy.batch_size import by_length, fitting, length_buckets
from hf_datasel.proxy.batching import TokenBudget, in_batches, is_out_of_memory
from hf_datasel.proxy.proxy import encode

from .families import LABELS


def no_memory_on_a_cpu():
    """A real one: nobody has a pebibyte."""
    torch.empty(2**50, dtype=torch.uint8)


def no_memory_on_windows():
    raise RuntimeError(
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate 9"
    )


def no_memory_on_apples_gpu():
    raise RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, max allowed: 9.07 GB).")


def no_memory_on_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


SHORTAGES = [no_memory_on_a_cpu, no_memory_on_windows, no_memory_on_apples_gpu, no_memory_on_a_gpu]


@pytest.fixture(scope="module")
def scorer(tiny_model, anchors):
    return OneStepTrain(Proxy(tiny_model), anchors, labels=LABELS)


@pytest.fixture(scope="module")
def lengths(scorer, real_rows):
    """Tokens of 240 real rows."""
    proxy = scorer._engines(None)[0].anchors.proxy
    return [len(encode(row, proxy, LABELS).input_ids) for row in real_rows("pool.jsonl", 240)]


@pytest.mark.parametrize("max_tokens", [1, 300, 2048, 10**6])
def test_batches_hold_every_row_once_and_little_padding(lengths, max_tokens):
    batches = list(length_buckets(lengths, max_tokens))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch, following in pairwise([*batches, []]):
        its = [lengths[index] for index in batch]
        padded = len(its) * max(its)
        assert padded <= max_tokens or len(its) == 1
        assert sum(its) >= 0.9 * padded
        if following:  # no smaller than the two rules ask for
            more = [*its, lengths[following[0]]]
            assert len(more) * max(its) > max_tokens or sum(more) < 0.9 * len(more) * max(its)


def test_the_longest_rows_come_first_and_equals_in_their_order(lengths):
    order = by_length(lengths)
    assert [lengths[i] for i in order] == sorted(lengths, reverse=True)
    assert by_length([5, 7, 5, 7]) == [1, 3, 0, 2]
    assert fitting([10, 9, 8, 8], 100) == 3  # with the fourth, 35 of 40 tokens would be no padding
    assert fitting([500, 400], 100) == 1


@pytest.fixture
def limited(monkeypatch):
    """A function of the padded tokens that fit and what happens otherwise: engines chosen from here on have that limit.

    It gives a list, to which the size of every batch that does not fit is added.
    """

    def limit(tokens, shortage):
        refused = []

        def choose(task, name, anchors, budget):
            engine, report = CHOOSE(task, name, anchors, budget)

            def measure(batch):
                if batch.input_ids.numel() > tokens:
                    refused.append(batch.input_ids.numel())
                    shortage()
                return engine(batch)

            return measure, report

        monkeypatch.setattr(utility, "choose", choose)
        return refused

    return limit


CHOOSE = utility.choose


def halvings(seen):
    return [str(warning.message) for warning in seen if "did not fit into memory" in str(warning.message)]


@pytest.mark.parametrize("shortage", SHORTAGES)
def test_a_shortage_is_told_from_other_errors(shortage):
    with pytest.raises(RuntimeError) as error:
        shortage()
    assert is_out_of_memory(error.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(("engine", "shortage"), [("forward_mode", no_memory_on_a_gpu), ("ghost", no_memory_on_a_cpu)])
def test_batches_halve_when_memory_runs_short_and_nothing_else_changes(scorer, pool, limited, shortage, engine):
    pool = pool.select(range(0, 24, 2))
    expected = replace(scorer, engine=engine, also=("aum",))(pool[:])
    refused = limited(300, shortage)
    short = replace(scorer, engine=engine, also=("aum",))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = short(pool[:])
    said = halvings(seen)
    budgets = [int(message.split("at most ")[1].split()[0]) for message in said]
    assert budgets == [size // 2 for size in refused] and len(refused) >= 2
    assert short._engines(None)[0].budget.tokens == budgets[-1] <= 300
    for column in ("ost_utility", "ost_row_loss", "ost_row_aum"):
        assert found[column] == pytest.approx(expected[column], rel=1e-5)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        short(pool[:4])
    assert halvings(seen) == []  # it is remembered


def test_rows_in_any_order_go_back_to_their_places(scorer, pool):
    measure = replace(scorer)._engines(None)[0]
    rows = [encode(row, measure.anchors.proxy, LABELS) for row in pool.select([3, 20, 0, 11, 7, 16])]
    together, alone = measure(rows), [measure([row]) for row in rows]
    assert together.dot[:, 0] == pytest.approx([float(one.dot[0, 0]) for one in alone], rel=1e-5)
    assert together.row_loss == pytest.approx([float(one.row_loss[0]) for one in alone], rel=1e-5)


def test_tokens_stay_with_their_rows_when_batches_halve(scorer, pool, limited):
    expected = replace(scorer, token_level=True)(pool[:8])
    limited(300, no_memory_on_a_cpu)
    with pytest.warns(UserWarning, match="did not fit into memory"):
        found = replace(scorer, token_level=True)(pool[:8])
    assert found["ost_token_text"] == expected["ost_token_text"]
    for ours, theirs in zip(found["ost_token_utility"], expected["ost_token_utility"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5 * np.max(np.abs(theirs)))


def test_a_row_that_does_not_fit_alone_is_an_error(scorer, pool, limited):
    limited(10, no_memory_on_a_cpu)
    with pytest.warns(UserWarning, match="did not fit"), pytest.raises(RuntimeError, match="can't allocate memory"):
        replace(scorer)(pool[:4])


def test_another_error_is_no_shortage(scorer, pool, limited):
    def fault():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    limited(300, fault)
    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="mat1 and mat2"):
        warnings.simplefilter("error")
        replace(scorer)(pool[:])


def test_what_was_measured_comes_with_its_rows(scorer, pool):
    """Two shortages in the middle, and still each row once, with what was measured of it."""
    proxy = scorer._engines(None)[0].anchors.proxy
    rows = [encode(row, proxy, LABELS) for row in pool]
    budget, calls = TokenBudget(1000), []

    def measure(batch):
        calls.append(batch)
        if len(calls) in (2, 3):
            no_memory_on_a_gpu()
        return batch.attention_mask.sum(1).tolist()

    with pytest.warns(UserWarning, match="did not fit") as said:
        found = list(in_batches(rows, proxy, budget, measure))
    assert len(said) == 2 and budget.tokens <= 250
    lengths = {index: length for bucket, _, its in found for index, length in zip(bucket, its, strict=True)}
    assert [lengths[i] for i in range(len(rows))] == [len(row.input_ids) for row in rows]
    assert sum(len(bucket) for bucket, _, _ in found) == len(rows)
