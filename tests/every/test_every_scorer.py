"""The promises of the README, over every scorer at once. A scorer without a case here fails with the file to write."""

import dataclasses
import json
import pickle
import tempfile

import numpy as np
import pytest
from datasets import Dataset
from datasets.fingerprint import Hasher

from hf_datasel import (
    AUM,
    EL2N,
    IFD,
    LESS,
    CLIPFeatures,
    CLIPScore,
    Deita,
    Embedding,
    Endpoint,
    GradientStore,
    Indicator,
    Labels,
    LexicalDiversity,
    LLMJudge,
    LogicalComplexity,
    Nuggets,
    OneStepTrain,
    OpticalFlow,
    Perplexity,
    PredictiveStrength,
    PreSelect,
    Probe,
    ProjectedOneStepTrain,
    Proxy,
    QuRating,
    ResponseLength,
    Reward,
    SelfConsistency,
    SentenceEmbedding,
    WeightedSum,
    WeightScorer,
    scorers,
)
from hf_datasel.contracts import Scorer
from hf_datasel.errors import BadRow
from hf_datasel.scorers.coido import FeatureBuilder
from hf_datasel.scorers.weighted_sum import Reference

from .. import clip
from ..judge_endpoint import fair_judge
from ..raters import save_classifier, save_rater, save_weaker
from ..sentences import save_sentence_model


def weight_scorer():
    builder = FeatureBuilder(("embedding",), (2,), ("length",), (0.0,), (200.0,), (50.0,))
    network = {"kind": "linear", "widths": [2], "scores": 1}
    return WeightScorer("coido", builder, network, {"factors.weight": np.array([[0.3, -0.2, 1.0]], np.float32)})


def store():
    return GradientStore(tempfile.mkdtemp(), 256)


CASES = {
    "AUM": lambda model, anchors: AUM(Proxy(model), labels=Labels(max_length=512)),
    "Deita": lambda model, anchors: Deita(Proxy(model), Proxy(model)),
    "CLIPFeatures": lambda model, anchors: CLIPFeatures(clip.folder()),
    "CLIPScore": lambda model, anchors: CLIPScore(clip.folder()),
    "EL2N": lambda model, anchors: EL2N(Proxy(model), labels=Labels(max_length=512)),
    "Embedding": lambda model, anchors: Embedding(Proxy(model), labels=Labels(max_length=512)),
    # So small a model is helped by few prompts.
    "IFD": lambda model, anchors: IFD(Proxy(model), drop_above_one=False, labels=Labels(max_length=512)),
    "LLMJudge": lambda model, anchors: LLMJudge(Endpoint("judge", base_url=fair_judge().url)),
    "LESS": lambda model, anchors: LESS(Proxy(model), anchors, store(), gradient="sgd", labels=Labels(max_length=512)),
    "LexicalDiversity": lambda model, anchors: LexicalDiversity(),
    "LogicalComplexity": lambda model, anchors: LogicalComplexity(),
    "Nuggets": lambda model, anchors: Nuggets(Proxy(model), anchors.select(range(3))),
    "OneStepTrain": lambda model, anchors: OneStepTrain(Proxy(model), anchors, labels=Labels(max_length=512)),
    "OpticalFlow": lambda model, anchors: OpticalFlow(),
    "Perplexity": lambda model, anchors: Perplexity(Proxy(model), labels=Labels(max_length=512)),
    "PreSelect": lambda model, anchors: PreSelect(save_classifier(), of="answer"),
    "PredictiveStrength": lambda model, anchors: PredictiveStrength(
        [Proxy(save_weaker(model)), Proxy(model)], (1, 2), Labels(max_length=512)
    ),
    "Probe": lambda model, anchors: Probe(Proxy(model), labels=Labels(max_length=512), samples=2, max_new_tokens=4),
    "QuRating": lambda model, anchors: QuRating(Proxy(save_rater(model)), of="answer"),
    "ProjectedOneStepTrain": lambda model, anchors: ProjectedOneStepTrain(
        Proxy(model), anchors, store(), labels=Labels(max_length=512)
    ),
    "ResponseLength": lambda model, anchors: ResponseLength(),
    "Reward": lambda model, anchors: Reward(clip.letters),
    "SelfConsistency": lambda model, anchors: SelfConsistency(),
    "SentenceEmbedding": lambda model, anchors: SentenceEmbedding(save_sentence_model(model)),
    "WeightScorer": lambda model, anchors: weight_scorer(),
    "WeightedSum": lambda model, anchors: WeightedSum(
        (Indicator("letters"), Indicator("spaces", "low")),
        (0.7, 0.3),
        (Reference(9, 5, (1, 99, 500)), Reference(2, 1, (-80, 0))),
    ),
}
OPTIONAL = {"OpticalFlow": "cv2", "PreSelect": "fasttext", "SentenceEmbedding": "sentence_transformers"}
VECTORS = {"Embedding", "SentenceEmbedding"}  # the first column holds vectors, float32, for rules that compare rows


def frames(answer):
    """Three frames whose pixels are the letters of an answer."""
    pixels = np.resize(np.frombuffer(answer.encode(), np.uint8), (3, 16, 16)) if answer else np.zeros((0, 16, 16))
    return pixels.tolist()


# What a scorer reads beside prompt and completion, made from the answer.
READS = {
    "CLIPFeatures": {"images": lambda answer: frames(answer)[:1]},
    "CLIPScore": {"images": lambda answer: frames(answer)[:1]},
    "OpticalFlow": {"images": frames},
    "SelfConsistency": {"sampled_answers": lambda answer: [answer, answer[: len(answer) // 2]] if answer else None},
    "WeightScorer": {
        "embedding": lambda answer: [float(len(answer)), float(answer.count("e"))] if answer else None,
        "length": lambda answer: float(len(answer)),
    },
    "WeightedSum": {
        "letters": lambda answer: len(answer) or None,
        "spaces": lambda answer: answer.count(" ") if answer else None,
    },
}


def with_what_it_reads(scorer, rows):
    extra = READS.get(type(scorer).__name__, {})
    return {**rows, **{name: [make(answer) for answer in rows["completion"]] for name, make in extra.items()}}


def equal(found, expected, tolerance):
    """Numbers by their relative difference, vectors by the length of their difference."""
    if np.asarray(found).dtype == np.float64:
        return found == pytest.approx(expected, rel=tolerance, nan_ok=True)
    both = np.isnan(found) & np.isnan(expected)
    apart = np.linalg.norm(np.where(both, 0.0, found - expected), axis=-1)
    return bool((apart <= tolerance * np.linalg.norm(np.nan_to_num(expected), axis=-1)).all())


def test_every_scorer_has_a_case():
    missing = set(scorers.__all__) - set(CASES)
    assert not missing, f"add {sorted(missing)} to CASES in tests/every/test_every_scorer.py"


@pytest.fixture(scope="module", params=sorted(CASES))
def scorer(request, tiny_model, anchors):
    if request.param in OPTIONAL:
        pytest.importorskip(OPTIONAL[request.param])
    return CASES[request.param](tiny_model, anchors)


@pytest.fixture(scope="module")
def pool(pool, scorer):
    return Dataset.from_dict(with_what_it_reads(scorer, pool[:]))


@pytest.fixture(scope="module")
def scored(scorer, pool):
    return scorer(pool[:])


def test_an_option_it_does_not_know_is_refused_at_once(scorer):
    for option in dataclasses.fields(scorer):
        if "Literal[" in str(option.type):
            with pytest.raises(ValueError, match=f"`{option.name}` is 'no such', expected"):
                dataclasses.replace(scorer, **{option.name: "no such"})


def test_it_writes_its_columns_the_score_first_and_a_status(scorer, scored, pool):
    assert isinstance(scorer, Scorer)
    assert tuple(scored) == scorer.columns
    score, status = scorer.columns[:2]
    assert status == f"{score}_status"
    is_vector = type(scorer).__name__ in VECTORS
    assert scored[score].dtype == (np.float32 if is_vector else np.float64)
    assert scored[score].shape[0] == len(pool) and scored[score].ndim == 1 + is_vector
    assert all(len(values) == len(pool) for values in scored.values())


def test_the_user_keeps_every_column(scorer, pool):
    mapped = pool.map(scorer, batched=True)
    assert mapped.column_names == [*pool.column_names, *scorer.columns]
    assert mapped.remove_columns(list(scorer.columns)).to_list() == pool.to_list()


def test_batches_and_order_do_not_matter(scorer, scored, pool):
    score = scorer.columns[0]
    order = np.random.default_rng(1).permutation(len(pool))
    shuffled = pool.select(order)
    found = np.concatenate([scorer(shuffled[i : i + 5])[score] for i in range(0, len(pool), 5)])
    assert equal(found, scored[score][order], 1e-5)


def test_one_row_at_a_time_is_the_same(scorer, scored, pool):
    score = scorer.columns[0]
    names = ("prompt", "completion", *READS.get(type(scorer).__name__, ()))
    row = scorer({name: pool[3][name] for name in names})
    assert equal(row[score], scored[score][3], 1e-5)
    assert row[f"{score}_status"] == scored[f"{score}_status"][3]


def test_duplicates_score_alike_and_bad_rows_are_nan_with_a_reason(scorer, pool):
    score = scorer.columns[0]
    rows = {"prompt": [pool[0]["prompt"]] * 2 + ["Why?"], "completion": [pool[0]["completion"]] * 2 + [""]}
    found = scorer(with_what_it_reads(scorer, rows))
    assert equal(found[score][0], found[score][1], 1e-6)
    assert [np.isnan(value).all() for value in found[score]] == [False, False, True]
    assert found[f"{score}_status"][2] not in ("ok", "truncated", "", None)


def test_its_spec_is_json_and_use_leaves_no_trace_in_the_pickle(scorer, scored):
    assert json.loads(json.dumps(scorer.spec, default=list))["scorer"] == type(scorer).__name__
    copy = pickle.loads(pickle.dumps(scorer))  # noqa: S301 (our own bytes)
    assert copy.spec == scorer.spec
    assert Hasher.hash(copy) == Hasher.hash(scorer)
    assert len(pickle.dumps(scorer)) < 100_000


def test_rows_that_are_all_bad_are_all_nan(scorer):
    score, status = scorer.columns[:2]
    rows = with_what_it_reads(scorer, {"prompt": ["Why?", "How?"], "completion": ["", ""]})
    found = scorer(rows)
    assert np.isnan(found[score]).all() and len(found[score]) == 2
    assert np.asarray(found[score]).dtype == (np.float32 if type(scorer).__name__ in VECTORS else np.float64)
    assert not {"ok", "truncated", "", None} & set(found[status])
    missing = scorer({**rows, "completion": [None, None]})
    assert np.isnan(missing[score]).all() or type(scorer).__name__ in READS


def test_columns_it_does_not_know_are_an_error_that_names_them(scorer):
    if isinstance(scorer, OpticalFlow):
        return  # a row without frames is one without motion to measure
    with pytest.raises(BadRow, match=r"`(pool|row|batch|samples|indicators)` .*[Ee]xpected "):
        scorer({"instruction": ["Why?", "How?"], "output": ["So.", "Thus."]})


def test_numbers_where_text_belongs_are_no_text(scorer):
    rows = {**with_what_it_reads(scorer, {"prompt": ["Why?"], "completion": ["So."]}), "completion": [4]}
    if type(scorer).__name__ in ("OpticalFlow", "SelfConsistency", "WeightScorer", "WeightedSum"):
        return  # they read other columns
    try:
        found = scorer(rows)
    except BadRow as error:
        assert "holds 4 where text or messages are expected" in str(error)
    else:
        assert np.isnan(found[scorer.columns[0]]).all() and found[scorer.columns[1]][0].startswith("malformed")
