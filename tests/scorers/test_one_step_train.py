"""One-Step-Train on a real pretrained proxy and real rows."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy.stats import spearmanr

from hf_datasel import Labels, OneStepTrain, Proxy
from hf_datasel.errors import BadRow, OverlapError


LABELS = Labels(max_length=512)


@pytest.fixture(scope="module")
def scorer(tiny_model, anchors):
    return OneStepTrain(Proxy(tiny_model), anchors, labels=LABELS)


@pytest.fixture(scope="module")
def scored(scorer, pool):
    return scorer(pool[:])


@pytest.fixture(scope="module")
def precise(tiny_model, anchors):
    return OneStepTrain(Proxy(tiny_model, dtype="float64"), anchors, labels=LABELS)


@pytest.fixture(scope="module")
def exact(precise, pool):
    return replace(precise, estimator="exact", learning_rate=1e-5)(pool[:])


def test_first_order_is_the_inner_product_of_the_two_gradients(tiny_model, pool, anchors, precise):
    """Against torch's own backward pass, one row at a time, with nothing of the package but the tokens."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64)
    engine = precise._engines(None)[0]

    def gradient(row):
        from hf_datasel.proxy.proxy import encode

        encoded = encode(row, engine.anchors.proxy, LABELS)
        model.zero_grad()
        output = model(input_ids=torch.tensor([encoded.input_ids]), labels=torch.tensor([encoded.labels]))
        output.loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()]).double()

    anchor_gradient = sum(gradient(row) for row in anchors) / len(anchors)
    expected = [float(gradient(pool[i]) @ anchor_gradient) for i in range(6)]
    # transformers computes its own loss in float32.
    assert precise(pool[:6])["ost_dot"] == pytest.approx(expected, rel=1e-5)


def test_first_order_ranks_as_the_exact_step(scored, exact):
    assert spearmanr(scored["ost_utility"], exact["ost_utility"]).statistic >= 0.999
    assert scored["ost_utility"] == pytest.approx(exact["ost_utility"], rel=0.02)


@pytest.mark.slow
def test_second_order_is_closer_to_a_large_step_than_first(precise, pool):
    rows, step = pool[:4], {"learning_rate": 1e-3}
    truth = replace(precise, estimator="exact", **step)(rows)["ost_utility"]
    first = replace(precise, **step)(rows)["ost_utility"]
    second = replace(precise, estimator="second_order", **step)(rows)["ost_utility"]
    assert np.all(np.abs(second - truth) < np.abs(first - truth) / 2)


def test_exact_reports_the_plotted_sign_and_the_share_of_weights(exact):
    assert exact["ost_anchor_loss_change"] == pytest.approx(-exact["ost_utility"])
    assert np.all(exact["ost_weights_changed"] > 0.5)


def test_exact_leaves_the_weights_untouched(precise, pool):
    exact = replace(precise, estimator="exact", learning_rate=1e-2)
    before = {name: p.clone() for name, p in exact._engines(None)[0].anchors.proxy.parameters.items()}
    exact(pool[:2])
    after = exact._engines(None)[0].anchors.proxy.parameters
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_exact_needs_wide_weights(tiny_model, anchors):
    with pytest.raises(ValueError, match=r"`proxy.dtype` is 'bfloat16', expected 'float32' or 'float64'"):
        OneStepTrain(Proxy(tiny_model, dtype="bfloat16"), anchors, estimator="exact")


def test_batches_and_order_and_neighbours_do_not_matter(scorer, scored, pool):
    alone = np.concatenate([scorer(pool[i : i + 1])["ost_utility"] for i in range(len(pool))])
    order = np.random.default_rng(0).permutation(len(pool))
    shuffled = scorer(pool.select(order)[:])["ost_utility"]
    assert alone == pytest.approx(scored["ost_utility"], rel=1e-5)
    assert shuffled == pytest.approx(scored["ost_utility"][order], rel=1e-5)


def test_map_gives_the_same_numbers_unbatched_and_in_two_processes(scorer, scored, pool):
    with pytest.warns(UserWarning, match="row by row"):
        unbatched = pool.map(scorer)
    batched = pool.map(scorer, batched=True, batch_size=7)
    workers = pool.map(scorer, batched=True, batch_size=5, num_proc=2)
    for result in (unbatched, batched, workers):
        assert result["ost_utility"][:] == pytest.approx(scored["ost_utility"].tolist(), rel=1e-5)
        assert result["ost_utility_status"][:] == scored["ost_utility_status"]


FRESH_PROCESS = """
import sys
from datasets import load_from_disk
from hf_datasel import Labels, OneStepTrain, Proxy
folder, model = sys.argv[1:]
pool, anchors = load_from_disk(folder + "/pool"), load_from_disk(folder + "/anchors")
scorer = OneStepTrain(Proxy(model), anchors, labels=Labels(max_length=512))
scored = pool.map(scorer, batched=True)
print(scored.cache_files[0]["filename"], "_loaded" in vars(scorer), repr(scored["ost_utility"][0]))
"""


@pytest.mark.slow
def test_a_fresh_process_is_a_cache_hit(pool, anchors, tiny_model, tmp_path):
    pool.select(range(4)).save_to_disk(tmp_path / "pool")
    anchors.save_to_disk(tmp_path / "anchors")
    command = [sys.executable, "-c", FRESH_PROCESS, str(tmp_path), tiny_model]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(2)]
    (first_file, first_loaded, first), (second_file, second_loaded, second) = runs
    assert (first_file, first) == (second_file, second)
    assert (first_loaded, second_loaded) == ("True", "False")


def test_using_a_scorer_does_not_change_its_fingerprint(tiny_model, anchors, pool):
    from datasets.fingerprint import Hasher

    scorer = OneStepTrain(Proxy(tiny_model), anchors, labels=LABELS)
    before = Hasher.hash(scorer)
    scorer(pool[:2])
    assert Hasher.hash(scorer) == before
    assert Hasher.hash(replace(scorer, learning_rate=2e-5)) != before
    assert Hasher.hash(replace(scorer, labels=Labels(max_length=256))) != before
    assert pickle.loads(pickle.dumps(scorer)).spec == scorer.spec  # noqa: S301 (our own bytes)


def test_other_weights_are_another_fingerprint(tiny_model, anchors, tmp_path):
    import shutil

    from datasets.fingerprint import Hasher
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    before = Hasher.hash(OneStepTrain(Proxy(str(copy)), anchors))
    original, moved = (Proxy(folder) for folder in (tiny_model, str(copy)))
    assert original.digest == moved.digest
    weights = load_file(copy / "model.safetensors")
    save_file(
        {name: tensor + 1e-3 for name, tensor in weights.items()},
        copy / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert Proxy(str(copy)).digest != original.digest
    assert Hasher.hash(OneStepTrain(Proxy(str(copy)), anchors)) != before


def test_token_utilities_average_to_the_row(scorer, scored, pool):
    found = replace(scorer, token_level=True)(pool[:])
    assert found["ost_utility"] == pytest.approx(scored["ost_utility"], rel=1e-6)
    for utilities, texts, whole in zip(
        found["ost_token_utility"], found["ost_token_text"], found["ost_utility"], strict=True
    ):
        assert np.mean(utilities) == pytest.approx(whole, rel=1e-6)
        assert len(utilities) == len(texts)
    for texts, row in zip(found["ost_token_text"], pool, strict=True):
        assert "".join(texts).removesuffix("</s>").strip() == row["completion"].strip()


def test_sum_reduction_weighs_rows_by_their_tokens(scorer, scored, pool):
    summed = replace(scorer, reduction="sum", token_level=True)(pool[:])
    lengths = np.array([len(tokens) for tokens in summed["ost_token_utility"]])
    assert summed["ost_utility"] == pytest.approx(scored["ost_utility"] * lengths, rel=1e-5)


def test_groups_average_to_the_whole_when_equally_large(tiny_model, anchors, pool, scored):
    grouped = anchors.add_column("group", ["b", "a", "b", "a", "b", "a"])
    scorer = OneStepTrain(Proxy(tiny_model), grouped, labels=LABELS, anchor_groups="group", group_score="minimum")
    found = scorer(pool[:])
    by_group = np.stack([found["ost_utility_group_a"], found["ost_utility_group_b"]])
    assert found["ost_utility_mean"] == pytest.approx(scored["ost_utility"], rel=1e-4)
    assert found["ost_utility"] == pytest.approx(by_group.min(0))
    assert found["ost_utility_vote"] == pytest.approx((by_group > 0).mean(0))
    assert set(scorer.columns) == set(found)


def test_cosine_lies_between_minus_one_and_one_and_agrees_in_sign(scorer, scored, pool):
    cosine = replace(scorer, normalize="cosine")(pool[:])
    assert np.all(np.abs(cosine["ost_utility"]) <= 1)
    assert np.array_equal(np.sign(cosine["ost_utility"]), np.sign(scored["ost_utility"]))
    assert cosine["ost_dot"] == pytest.approx(scored["ost_dot"], rel=1e-4)


def test_cosine_does_not_feel_how_long_a_gradient_is(scorer, pool):
    """A sum over tokens is a multiple of the mean, so it points the same way."""
    mean, total = (replace(scorer, normalize="cosine", reduction=reduction)(pool[:6]) for reduction in ("mean", "sum"))
    assert mean["ost_utility"] == pytest.approx(total["ost_utility"], rel=1e-5)
    assert np.all(mean["ost_dot"] < total["ost_dot"])


def test_memory_limits_do_not_change_the_numbers(scorer, scored, pool, monkeypatch):
    """Every row and every anchor in a batch of its own."""
    monkeypatch.setenv("HF_DATASEL_MAX_TOKENS", "1")
    alone = replace(scorer)
    assert alone(pool[:])["ost_utility"] == pytest.approx(scored["ost_utility"], rel=1e-5)
    assert len(alone._engines(None)[0].anchors.batches[0]) == len(alone.anchors)


def test_bfloat16_keeps_the_order_to_first_order(tiny_model, anchors, pool, scored):
    rough = OneStepTrain(Proxy(tiny_model, dtype="bfloat16"), anchors, labels=LABELS)(pool[:])
    assert spearmanr(rough["ost_utility"], scored["ost_utility"]).statistic >= 0.98


def test_a_part_of_the_parameters_gives_another_number(tiny_model, anchors, pool, scored):
    part = OneStepTrain(Proxy(tiny_model, trainable=("mlp",)), anchors, labels=LABELS)(pool[:4])
    assert np.all(part["ost_utility"] != scored["ost_utility"][:4])
    with pytest.raises(ValueError, match="matches none of the 47 parameters"):
        OneStepTrain(Proxy(tiny_model, trainable=("nothing",)), anchors, labels=LABELS)(pool[:1])


def test_lora_adapters_step_alone(tiny_model, anchors, pool, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config).save_pretrained(tmp_path)
    proxy = Proxy(tiny_model, adapter=str(tmp_path), trainable="lora", dtype="float64")
    scorer = OneStepTrain(proxy, anchors, labels=LABELS)
    assert all("lora_" in name for name in scorer._engines(None)[0].anchors.proxy.parameters)
    truth = replace(scorer, estimator="exact", learning_rate=1e-4)(pool[:4])["ost_utility"]
    assert replace(scorer, learning_rate=1e-4)(pool[:4])["ost_utility"] == pytest.approx(truth, rel=0.05)


def test_bad_rows_get_nan_and_a_reason_and_leave_the_others_alone(scorer, pool, scored):
    rows = [
        {**pool[0], "completion": "  "},
        {**pool[1], "prompt": pool[1]["prompt"] * 40},
        pool[2],
        {**pool[3], "completion": pool[3]["completion"] * 40},
        {**pool[4], "completion": None},
    ]
    found = scorer({name: [row[name] for row in rows] for name in ("prompt", "completion")})
    assert found["ost_utility_status"][:4] == ["empty_completion", "masked_by_truncation", "ok", "truncated"]
    assert found["ost_utility_status"][4] != "ok"
    assert np.isnan(found["ost_utility"]).tolist() == [True, True, False, False, True]
    assert found["ost_utility"][2] == pytest.approx(scored["ost_utility"][2], rel=1e-5)


def test_a_row_longer_than_the_context_is_not_scored(tiny_model, anchors, pool):
    scorer = OneStepTrain(Proxy(tiny_model), anchors, labels=Labels(max_length=None))
    found = scorer({"prompt": [pool[0]["prompt"] * 40], "completion": ["4"]})
    assert found["ost_utility_status"] == ["longer_than_context"]
    assert np.isnan(found["ost_utility"]).all()


def test_a_nan_loss_is_a_status(tiny_model, anchors, pool):
    scorer = OneStepTrain(Proxy(tiny_model), anchors, labels=LABELS)
    engine = scorer._engines(None)[0]
    engine.directions  # noqa: B018 (the anchors' gradient, before the damage)
    parameters = engine.anchors.proxy.parameters
    embedding = parameters["model.embed_tokens.weight"]
    rare = scorer._engines(None)[0].anchors.proxy.tokenizer("7")["input_ids"][-1]
    kept = embedding[rare].clone()
    assert any("7" in row["prompt"] for row in pool) and not all(
        "7" in row["prompt"] + row["completion"] for row in pool
    )
    embedding[rare] = float("nan")
    found = scorer(pool[:])
    embedding[rare] = kept
    assert "nan_loss" in found["ost_utility_status"]
    assert [status == "nan_loss" for status in found["ost_utility_status"]] == np.isnan(found["ost_utility"]).tolist()


def test_anchors_without_a_loss_are_refused(tiny_model, anchors, pool):
    spoiled = Dataset.from_list([anchors[0], {**anchors[1], "completion": ""}])
    with pytest.raises(BadRow, match=r"`anchors` has 1 of 2 rows without a loss \(anchor 1: empty_completion\)"):
        OneStepTrain(Proxy(tiny_model), spoiled, labels=LABELS)(pool[:1])
    long = Dataset.from_list([{**anchors[0], "completion": anchors[0]["completion"] * 40}])
    with pytest.raises(BadRow, match="longer_than_context"):
        OneStepTrain(Proxy(tiny_model), long, labels=Labels(max_length=None))(pool[:1])


def test_anchors_in_the_pool_or_the_evaluation_are_refused(scorer, tiny_model, anchors, pool):
    with pytest.raises(OverlapError, match="`anchors` and the pool share the row"):
        scorer({name: [*pool[:2][name], anchors[0][name]] for name in ("prompt", "completion")})
    with pytest.raises(OverlapError, match="`evaluation` shares 1 rows with `anchors`"):
        OneStepTrain(Proxy(tiny_model), anchors, evaluation=anchors.select([2]))


def test_missing_columns_are_named(scorer):
    with pytest.raises(BadRow, match="no training column found"):
        scorer({"question": ["1 + 1"], "answer": ["2"]})


def test_a_pool_of_one_row_and_copies_score_alike(scorer, pool, scored):
    assert scorer(pool[:1])["ost_utility"] == pytest.approx(scored["ost_utility"][:1], rel=1e-5)
    copies = scorer(pool.select([3, 0, 3])[:])["ost_utility"]
    assert copies[0] == pytest.approx(copies[2], rel=1e-7)


def test_a_batch_without_a_single_scorable_row(scorer):
    found = scorer({"prompt": ["a", "b"], "completion": ["", " "]})
    assert np.isnan(found["ost_utility"]).all() and found["ost_utility"].dtype == np.float64


def test_messages_without_a_chat_template_are_a_fault_of_the_set_up(scorer):
    turns = [{"role": "user", "content": "1 + 1"}, {"role": "assistant", "content": "2"}]
    with pytest.raises(BadRow, match="`proxy` has no chat template"):
        scorer({"messages": [turns]})


def test_rows_differ_by_the_column_that_training_reads(tiny_model):
    """Told another name for plain text, a column `text` beside it is a remark: rows that share it are not copies."""
    rows = {"content": ["One and two.", "A cat sat.", "Yes, no.", "Sun and rain."], "text": ["x", "x", "y", "y"]}
    anchors = [{"content": "The sun shone."}]
    scorer = OneStepTrain(Proxy(tiny_model), anchors, labels=Labels(max_length=512, dataset_text_field="content"))
    assert len(set(scorer(rows)["ost_utility"])) == 4
