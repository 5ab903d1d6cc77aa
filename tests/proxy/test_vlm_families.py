"""Every engine against one backward pass per row, on vision-language models: tiny, with random weights, real pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, List, Value
from datasets import Image as ImageFeature

from hf_datasel import Labels, OneStepTrain, Perplexity, Proxy
from hf_datasel.errors import DataselError
from hf_datasel.proxy.batch_size import IMAGE_ROWS, encoded_batches
from hf_datasel.proxy.losses import collate
from hf_datasel.proxy.proxy import encode

from ..vlm import FAMILIES, PLACEHOLDERS, png, real_rows


LABELS = Labels(max_length=512)
TRAINABLE = ("language", "projector", "all")
# Parameters that belong to no layer: the embeddings of CLIP and of InternVL's encoder.
NO_GHOST = {("llava", "all"), ("internvl", "all")}
REAL = real_rows(12)


def row(family, images, prompt, completion):
    return {
        "images": images,
        "prompt": " ".join([PLACEHOLDERS[family]] * len(images) + [prompt]),
        "completion": completion,
    }


def pool_of(family):
    """Rows of one, of two and of no image, of several sizes."""
    one = [row(family, [r["image"]], r["question"], f" {r['answer']} because it is.") for r in REAL[4:8]]
    return [
        *one,
        row(family, [REAL[8]["image"], png(3, (60, 30))], "which?", " the second of the two"),
        row(family, [], "two and two?", " four"),
        row(family, [png(5, (33, 57))], "a tall one?", " yes"),
    ]


def anchors_of(family):
    return [row(family, [r["image"]], r["question"], f" {r['answer']}") for r in REAL[:4]]


def columns(rows):
    return {name: [its[name] for its in rows] for name in rows[0]}


@pytest.fixture(scope="module", params=[(family, part) for family in FAMILIES for part in TRAINABLE], ids="-".join)
def measured(request, vlm_folder):
    """Family, trainable part, scorer, and its `per_row` numbers."""
    family, part = request.param
    scorer = OneStepTrain(
        Proxy(vlm_folder(family), trainable=part), anchors_of(family), labels=LABELS, engine="per_row"
    )
    found = scorer(columns(pool_of(family)))
    assert found["ost_utility_status"] == ["ok"] * 7
    return family, part, scorer, found["ost_dot"]


def difference(found, expected):
    return np.max(np.abs(found - expected)) / np.max(np.abs(expected))


# Two losses in float32 differ by rounding noise, the more the smaller the step; 16 bits have three digits.
CLOSE = {"finite_differences": 2e-3, "bfloat16": 2e-2}


def agrees(engine, found, expected):
    return difference(found, expected) < CLOSE.get(engine, 1e-4)


def weights(scorer):
    return {name: value.clone() for name, value in scorer._engines(None)[0].anchors.proxy.model.state_dict().items()}


@pytest.mark.parametrize("engine", ["forward_mode", "ghost", "finite_differences", "bfloat16"])
def test_engines_equal_a_backward_pass_per_row(measured, engine):
    family, part, scorer, expected = measured
    fast = replace(scorer, engine=engine)
    if engine == "ghost" and (family, part) in NO_GHOST:
        with pytest.raises(DataselError, match=r"`engine` is 'ghost' and does not fit.*beside its layers"):
            fast(columns(pool_of(family)))
        return
    before = weights(fast)
    assert agrees(engine, fast(columns(pool_of(family)))["ost_dot"], expected)
    assert fast.engine_report["passed_over"] == {}  # by the rules, not by torch's own
    assert all(torch.equal(before[name], value) for name, value in weights(fast).items())


def test_rows_without_an_image_move_no_projector(measured):
    _, part, _, expected = measured
    assert (expected[5] == 0) is np.bool_(part == "projector")


def test_groups_take_ghost_products_where_they_can(measured):
    family, part, scorer, _ = measured
    anchors = [{**its, "group": name} for its, name in zip(anchors_of(family), "abab", strict=True)]
    auto = OneStepTrain(scorer.proxy, anchors, labels=LABELS, anchor_groups="group")
    found, expected = auto(columns(pool_of(family))), replace(auto, engine="per_row")(columns(pool_of(family)))
    assert auto.engine_report["engine"] == ("forward_mode" if (family, part) in NO_GHOST else "ghost")
    for group in "ab":
        key = f"ost_utility_group_{group}"
        assert difference(found[key], expected[key]) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_the_exact_step_agrees(family, vlm_folder):
    proxy = Proxy(vlm_folder(family), dtype="float64", trainable="language")
    # Not smaller: attention's softmax is in float32 whatever the weights are, which leaves noise of 1e-8 in a loss.
    exact = OneStepTrain(proxy, anchors_of(family), "exact", learning_rate=1e-4, labels=LABELS)
    batch = columns(pool_of(family)[3:6])
    truth = exact(batch)["ost_utility"]
    second = replace(exact, estimator="second_order")(batch)["ost_utility"]
    assert difference(second, truth) < 2e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_counts_by_itself_and_by_its_image(family, vlm_folder, monkeypatch):
    scorer = OneStepTrain(Proxy(vlm_folder(family)), anchors_of(family), labels=LABELS, engine="forward_mode")
    rows = pool_of(family)
    together = scorer(columns(rows))["ost_dot"]
    alone = [scorer(columns([its]))["ost_dot"][0] for its in rows]
    assert difference(np.array(alone), together) < 1e-5
    other = scorer(columns([{**rows[0], "images": [png(9)]}]))["ost_dot"][0]
    assert abs(other / together[0] - 1) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_are_those_of_the_model_itself(family, vlm_folder):
    proxy = Proxy(vlm_folder(family)).load(LABELS)
    rows = [encode(its, proxy, LABELS) for its in pool_of(family)]
    found = Perplexity(Proxy(vlm_folder(family)), labels=LABELS)(columns(pool_of(family)))["row_loss"]
    for its, loss in zip(rows, found, strict=True):
        with torch.no_grad():
            own = proxy.model(
                input_ids=torch.tensor([its.input_ids]), labels=torch.tensor([its.labels]), **its.media
            ).loss
        assert loss == pytest.approx(float(own), rel=1e-5)


def encoder_runs(scorer, batch):
    """How many images or patches go through the encoder while a batch is scored."""
    proxy = scorer._engines(None)[0].anchors.proxy
    scorer._engines(None)[0].chosen  # noqa: B018 (choosing looks at the anchors' images, once)
    from hf_datasel.proxy.vision import encoder_name

    encoder, runs = proxy.model.get_submodule(encoder_name(proxy.model)), []
    layer = next(module for module in encoder.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Conv3d))
    hook = layer.register_forward_hook(lambda *_: runs.append(1))
    try:
        scorer(batch)
    finally:
        hook.remove()
    return len(runs)


@pytest.mark.parametrize("engine", ["forward_mode", "ghost", "finite_differences", "per_row"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_encoder_sees_an_image_once(family, engine, vlm_folder):
    anchors = [{**its, "group": name} for its, name in zip(anchors_of(family), "abab", strict=True)]
    scorer = OneStepTrain(
        Proxy(vlm_folder(family), trainable="language"),
        anchors, labels=LABELS, anchor_groups="group", engine=engine, also=("el2n",),
    )  # fmt: skip
    assert encoder_runs(scorer, columns(pool_of(family)[:1])) == 1


def test_a_trainable_encoder_is_not_remembered(vlm_folder):
    scorer = OneStepTrain(
        Proxy(vlm_folder("idefics3")), anchors_of("idefics3"), labels=LABELS, engine="finite_differences"
    )
    assert encoder_runs(scorer, columns(pool_of("idefics3")[:1])) == 2


def test_an_exact_step_encodes_the_anchors_images_once(vlm_folder):
    scorer = OneStepTrain(
        Proxy(vlm_folder("llava"), trainable="language"), anchors_of("llava"), "exact", labels=LABELS
    )
    assert encoder_runs(scorer, columns(pool_of("llava")[:1])) == 1
    proxy = scorer._engines(None)[0].anchors
    states = proxy.batches[0][0].encoded[0][1].hidden_states
    assert [state is None for state in states] == [True, False, True]  # of the layers, the one that is projected


@pytest.mark.parametrize("family", FAMILIES)
def test_presets_part_the_parameters(family, vlm_folder):
    names = {part: set(Proxy(vlm_folder(family), trainable=part).load(LABELS).parameters) for part in TRAINABLE}
    assert not names["language"] & names["projector"]
    rest = names["all"] - names["language"] - names["projector"]
    assert rest
    assert all("vis" in name for name in rest)
    assert any("layers.1.mlp" in name for name in names["language"])
    assert not any("vis" in name for name in names["language"])
    assert all(any(word in name for word in ("projector", "merger", "connector")) for name in names["projector"])


def test_presets_of_a_model_of_text(tiny_model):
    assert len(Proxy(tiny_model, trainable="language").load(LABELS).parameters) == len(
        Proxy(tiny_model).load(LABELS).parameters
    )
    with pytest.raises(ValueError, match="`trainable` is 'projector' and matches none"):
        Proxy(tiny_model, trainable="projector").load(LABELS)


@pytest.mark.parametrize("family", ["llava", "qwen3_vl"])
def test_adapters(family, vlm_folder, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForImageTextToText.from_pretrained(vlm_folder(family)), config).save_pretrained(tmp_path)
    proxy = Proxy(vlm_folder(family), adapter=str(tmp_path), trainable="lora")
    rows = OneStepTrain(proxy, anchors_of(family), labels=LABELS, engine="per_row")
    expected = rows(columns(pool_of(family)))["ost_dot"]
    assert all("lora_" in name for name in rows._engines(None)[0].anchors.proxy.parameters)
    for engine in ("forward_mode", "ghost", "finite_differences"):
        found = replace(rows, engine=engine)(columns(pool_of(family)))["ost_dot"]
        assert agrees(engine, found, expected)


def test_one_anchor_is_enough_to_choose_an_engine(vlm_folder):
    scorer = OneStepTrain(Proxy(vlm_folder("llava")), anchors_of("llava")[:1], labels=LABELS)
    scorer(columns(pool_of("llava")[:2]))
    assert (scorer.engine_report["engine"], scorer.engine_report["rows_checked"]) == ("forward_mode", 2)


BROKEN = [
    ({"images": [b"no picture"]}, "unreadable_image: UnidentifiedImageError"),
    ({"images": None}, "no_image"),
    ({"images": [png(1), png(2)]}, "malformed: ValueError"),
    ({"prompt": "no placeholder"}, "malformed: ValueError"),
    ({"prompt": "word " * 600 + "<image>"}, "image_cut_by_truncation"),
    ({"completion": " "}, "empty_completion"),
]


def dataset_of(rows):
    features = Features({"images": List(ImageFeature()), "prompt": Value("string"), "completion": Value("string")})
    encoded = [
        {**its, "images": its["images"] and [{"bytes": image, "path": None} for image in its["images"]]}
        for its in rows
    ]
    return Dataset.from_list(encoded, features=features)


@pytest.mark.parametrize("kind", ["one_step", "perplexity"])
def test_broken_rows_get_a_status_and_the_others_their_number(kind, vlm_folder):
    proxy, good = Proxy(vlm_folder("llava"), trainable="language"), pool_of("llava")[:2]
    scorer = (
        OneStepTrain(proxy, dataset_of(anchors_of("llava")), labels=LABELS)
        if kind == "one_step"
        else Perplexity(proxy, labels=LABELS)
    )
    score, status = scorer.columns[:2]
    rows = [good[0], *({**good[0], **change} for change, _ in BROKEN), good[1]]
    scored = dataset_of(rows).map(scorer, batched=True, batch_size=3)
    values = np.array(scored[score][:])
    assert np.isnan(values).tolist() == [False] + [True] * len(BROKEN) + [False]
    for found, (_, expected) in zip(scored[status][1:-1], BROKEN, strict=True):
        assert found.startswith(expected), found
    assert values[[0, -1]] == pytest.approx(scorer(columns(good))[score], rel=1e-5)


def test_images_are_read_in_portions_and_only_where_a_row_is_missing(vlm_folder):
    proxy = Proxy(vlm_folder("llava")).load(LABELS)
    count = IMAGE_ROWS + 2
    rows = [row("llava", [png(i % 7)], f"number {i}", " yes") for i in range(count)]
    read = []

    def remember(its):
        read.append(its["prompt"])
        return encode(its, proxy, LABELS)

    places = [place for batch, _ in encoded_batches(rows, frozenset(range(count)), remember, 512) for place in batch]
    assert sorted(places) == list(range(count))
    read.clear()
    (batch,) = encoded_batches(rows, frozenset({count - 1}), remember, 512)
    assert read == [its["prompt"] for its in rows[IMAGE_ROWS:]]
    assert [len(its.media["pixel_values"]) for its in batch[1]] == [1, 1]


def test_images_of_several_sizes_are_padded(vlm_folder):
    proxy = Proxy(vlm_folder("idefics3")).load(LABELS)
    rows = [encode(its, proxy, LABELS) for its in pool_of("idefics3")]
    batch = collate(rows, proxy)
    assert batch.media["pixel_values"].shape[:2] == (6, 2)  # a row without an image has no place
    assert batch.pieces == (1, 1, 1, 1, 2, 0, 1)


def test_the_promises_hold_for_images(vlm_folder, tmp_path):
    from datasets.fingerprint import Hasher

    pool = Dataset.from_generator(lambda: iter(dataset_of(pool_of("llava"))), cache_dir=str(tmp_path))
    scorer = OneStepTrain(Proxy(vlm_folder("llava")), dataset_of(anchors_of("llava")), labels=LABELS)
    before = Hasher.hash(scorer)
    alone = pool.map(scorer, batched=True, batch_size=2)
    assert Hasher.hash(scorer) == before
    with pytest.warns(UserWarning, match="row by row"):
        unbatched = pool.map(scorer)
    two = pool.map(scorer, batched=True, num_proc=2)
    for other in (unbatched, two):
        assert other["ost_utility"][:] == pytest.approx(alone["ost_utility"][:], rel=1e-5)
    assert alone.features["images"] == pool.features["images"]


def test_a_finished_row_is_not_decoded_again(vlm_folder, tmp_path, monkeypatch):
    from hf_datasel import score
    from hf_datasel.rows import vision

    scorer = Perplexity(Proxy(vlm_folder("llava")), labels=LABELS)
    pool, opened, plain = dataset_of(pool_of("llava")), [], vision.decoded

    def count(image):
        opened.append(image)
        return plain(image)

    monkeypatch.setattr(vision, "decoded", count)
    first = score(pool, scorer, journal=tmp_path / "journal.sqlite")
    assert len(opened) == 7  # one each, two of one row, none of another
    again = score(pool, scorer, journal=tmp_path / "journal.sqlite")
    assert len(opened) == 7
    assert again[scorer.columns[0]][:] == first[scorer.columns[0]][:]
