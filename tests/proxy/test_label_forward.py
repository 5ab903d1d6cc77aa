"""One forward pass that computes no more than it must: what is left out, and that nothing misses it."""

import math
from functools import partial

import pytest
import torch

from hf_datasel import OneStepTrain, Proxy
from hf_datasel.proxy import label_forward
from hf_datasel.proxy.engines import ghost as ghost_module
from hf_datasel.proxy.engines.finite_differences import finite_differences
from hf_datasel.proxy.engines.forward_mode import forward_mode
from hf_datasel.proxy.engines.ghost import ghost
from hf_datasel.proxy.label_forward import attention, body_of, chunks, target_states
from hf_datasel.proxy.losses import collate
from hf_datasel.proxy.proxy import encode

from .families import LABELS, near


ENGINES = {
    "forward_mode": forward_mode,
    "ghost": ghost,
    "finite_differences": partial(finite_differences, lengths=(1e-3,)),
}


@pytest.fixture(scope="module")
def loaded(tiny_model, anchors):
    found = OneStepTrain(Proxy(tiny_model), anchors, labels=LABELS)._engines(None)[0]
    assert found.task.num_directions == 1  # computed here, so that no test counts what it takes
    return found


@pytest.fixture(scope="module")
def batch(loaded, pool):
    rows = [encode(row, loaded.anchors.proxy, LABELS) for row in pool.select(range(0, 24, 3))]
    return collate(rows, loaded.anchors.proxy)


@pytest.fixture
def tokens_through(loaded):
    """Tokens of every call of a few layers, by name."""
    model = loaded.anchors.proxy.model
    layers = {
        "first": model.model.layers[0].mlp.up_proj,
        "last": model.model.layers[-1].mlp.up_proj,
        "head": model.lm_head,
    }
    counts = {name: [] for name in layers}

    def count(name):
        return lambda _, arguments: counts[name].append(arguments[0].shape[:-1].numel())

    hooks = [layer.register_forward_pre_hook(count(name)) for name, layer in layers.items()]
    yield counts
    for hook in hooks:
        hook.remove()


def uses_short_chunks(monkeypatch):
    """As many targets at a time as a chunk has at least: 64."""
    monkeypatch.setattr(label_forward, "CACHED_LOGITS", 1)
    monkeypatch.setattr(ghost_module, "chunks", partial(chunks, max_logits=1))


@pytest.mark.parametrize("engine", ENGINES)
def test_only_targets_go_through_the_last_mlp_and_the_head(loaded, batch, tokens_through, engine):
    ENGINES[engine](loaded.task)(batch)
    targets, positions = int(batch.is_target.sum()), batch.input_ids[:, :-1].numel()
    assert targets < positions / 2
    passes = 2 if engine == "finite_differences" else 1
    assert tokens_through == {"first": [positions] * passes, "last": [targets] * passes, "head": [targets] * passes}


@pytest.mark.parametrize("engine", ENGINES)
def test_logits_in_chunks_give_the_same_numbers(loaded, batch, tokens_through, engine, monkeypatch):
    make = ENGINES[engine]
    whole = make(loaded.task)(batch)
    before = len(tokens_through["head"])
    uses_short_chunks(monkeypatch)
    found = make(loaded.task)(batch)
    targets = int(batch.is_target.sum())
    assert targets % 64 and targets > 3 * 64
    own = tokens_through["head"][before:]
    assert max(own) == 64 and len(own) == math.ceil(targets / 64) * before
    assert sum(own) == sum(tokens_through["head"][:before])
    # Moved losses are subtracted: what rounding leaves of them is divided by a small step.
    tolerance = 1e-3 if engine == "finite_differences" else 1e-5
    assert found.dots.numpy() == near(whole.dots.numpy(), tolerance)
    assert found.figures["loss"].numpy() == near(whole.figures["loss"].numpy(), 1e-6)


def test_chunks_cover_every_target_once(loaded):
    proxy, vocabulary = loaded.anchors.proxy, loaded.anchors.proxy.model.config.vocab_size
    targets = torch.arange(1000)
    for most in (1, 100 * vocabulary, 10**9):
        parts = list(chunks(proxy, targets, most))
        assert torch.cat([targets[part] for part in parts]).tolist() == targets.tolist()
        assert max(part.stop - part.start for part in parts) == max(64, min(1000, most // vocabulary))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_model_is_as_it_was_afterwards_even_after_an_error(loaded, batch, engine):
    model = loaded.anchors.proxy.model

    def state():
        hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
        return hooks, model.config._attn_implementation, "forward" in vars(body_of(loaded.anchors.proxy))

    before = state()
    ENGINES[engine](loaded.task)(batch)
    assert state() == before

    def fail(*_):
        raise ZeroDivisionError

    for layer in (model.model.norm, model.lm_head):
        hook = layer.register_forward_pre_hook(fail)
        with pytest.raises(ZeroDivisionError):
            ENGINES[engine](loaded.task)(batch)
        hook.remove()
        assert state() == before
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_states_are_those_of_the_whole_model(loaded, batch):
    """At the targets' places: attention masks for padding and the last layer's other MLPs are not missed."""
    proxy = loaded.anchors.proxy
    with torch.no_grad(), attention(proxy, "sdpa"):
        states, _ = target_states(proxy, batch)
        whole = proxy.model.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    assert torch.allclose(states, whole[batch.places], atol=1e-5)
