"""Every scorer with a proxy, on vision-language models: it looks at the image, and an image that it cannot read is said."""

import io
import json
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from hf_datasel import Labels, PredictiveStrength, Proxy, scorers

from ..vlm import FAMILIES, PLACEHOLDERS, real_rows, save
from .test_every_scorer import CASES


SEES = (
    "AUM", "EL2N", "Embedding", "IFD", "LESS", "OneStepTrain", "Perplexity", "PredictiveStrength", "Probe",
    "ProjectedOneStepTrain",
)  # fmt: skip
READS_TEXT = {
    "Deita": "its raters are language models, asked about texts",
    "Nuggets": "puts rows before one another as text, and says `holds_media`",
    "QuRating": "its rater is a classifier of texts",
}


def test_every_scorer_with_a_proxy_is_tried_on_images():
    taking = {
        name for name in scorers.__all__
        if {"proxy", "models"} & {field.name for field in fields(getattr(scorers, name))}
    }  # fmt: skip
    assert taking - {*SEES, *READS_TEXT} == set(), "say in this file whether they see images"
    assert {*SEES} <= taking


def rows_of(family, numbers):
    rows, mark = real_rows(max(numbers) + 1), PLACEHOLDERS[family]
    return [
        {
            "images": [rows[number]["image"]],
            "prompt": f"{mark} {rows[number]['question']}",
            "completion": f" {rows[number]['answer']}, since it is so.",
        }
        for number in numbers
    ]


def columns(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def stripes():
    """A picture that is like no other, the small ones that are drawn where the real ones are not here included."""
    lines = np.zeros((40, 40, 3), np.uint8)
    lines[::4, :, 0] = lines[:, ::3, 1] = 255
    file = io.BytesIO()
    Image.fromarray(lines).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", SEES)
def test_it_looks_at_the_image_and_says_what_it_cannot_read(name, family, vlm_folder, tmp_path):
    if name == "PredictiveStrength":
        models = [Proxy(save(family, tmp_path, layers=3)), Proxy(vlm_folder(family))]
        scorer = PredictiveStrength(models, (1, 2), Labels(max_length=512))
    else:
        scorer = CASES[name](vlm_folder(family), rows_of(family, range(3)))
    good = rows_of(family, (4, 5))
    text = {"images": [], "prompt": "two and two?", "completion": " four, since it is so."}
    broken = {**good[0], "images": [b"no picture"]}
    found = scorer(columns([*good, text, broken]))
    blank = scorer(columns([{**row, "images": [stripes()]} for row in good] + [text]))
    score, status = scorer.columns[:2]
    assert [its.split(":")[0] for its in found[status]] == ["ok", "ok", "no_media" if name == "Probe" else "ok", "unreadable_image"]  # fmt: skip
    assert [np.isfinite(value).all() for value in found[score]] == [True, True, True, False]
    numbers = [column for column, its in found.items() if getattr(its, "dtype", None) in (np.float32, np.float64)]
    if name == "PredictiveStrength":  # which counts pairs of models, here one: its losses tell
        numbers = ["bits_per_character"]

    def changed(at):
        pairs = [(found[column][at], blank[column][at]) for column in numbers]
        return any(not np.allclose(one, other, rtol=1e-4, atol=1e-9, equal_nan=True) for one, other in pairs)

    assert [changed(at) for at in range(3)] == [True, True, False]
    alone = scorer(columns([good[0]]))
    assert np.allclose(alone[score][0], found[score][0], rtol=1e-4, atol=1e-6)
    json.dumps(scorer.spec, default=list)
