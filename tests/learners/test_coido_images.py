"""CoIDO on rows with images: CLIP's features, a reward, a vision-language model in training, and rows of text among them."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset, Features, Image, List, Value

from hf_datasel import CLIPFeatures, CoIDO, Labels, Proxy, Reward, score
from hf_datasel.training import CoTraining
from tests import clip, vlm


TEXT = (3, 7, 11, 15)


@pytest.fixture(scope="module")
def pool():
    """20 real questions, four of them without their picture."""
    rows = [
        {
            "images": [] if place in TEXT else [{"bytes": row["image"], "path": None}],
            "prompt": row["question"] if place in TEXT else f"{vlm.PLACEHOLDERS['llava']} {row['question']}",
            "completion": f" {row['answer']} {place}",
            "task": "text" if place in TEXT else "image",
        }
        for place, row in enumerate(vlm.real_rows(20))
    ]
    features = {"images": List(Image()), **{name: Value("string") for name in ("prompt", "completion", "task")}}
    return score(
        Dataset.from_list(rows, features=Features(features)), CLIPFeatures(clip.folder()), Reward(clip.letters)
    )


@pytest.mark.parametrize("incomplete", ["random_share", "zeros", "not_scored"])
def test_images_and_rows_of_text_among_them(pool, vlm_folder, incomplete):
    assert [place for place, image in enumerate(pool["clip_image"]) if image is None] == list(TEXT)
    training = CoTraining(1.0, 4, 1e-3, method="full", sft={"logging_strategy": "no", "disable_tqdm": True})
    learner = CoIDO(
        Proxy(vlm_folder("llava")), scores=["clip_score", "reward"], fraction=0.6, clusters=3, neighbours=4, width=16,
        training=training, incomplete=incomplete, labels=Labels(max_length=200),
    )  # fmt: skip
    fitted = learner.fit(pool)
    learned_from = fitted.spec["learned"]["rows"]
    assert 6 <= learned_from <= 12  # of the 12 drawn, those with a picture
    scored = score(pool, learner)
    text = np.isin(np.arange(20), TEXT)
    values, weights = (np.array(scored[name], dtype=float) for name in ("coido", "coido_weight"))
    assert np.isfinite(values[~text]).all() and values[~text] == pytest.approx(-weights[~text])
    assert np.isfinite(values[text]).all() == (incomplete != "not_scored")
    assert set(np.array(scored["coido_status"])[text]) == {
        "missing_embedding" if incomplete == "not_scored" else incomplete
    }
