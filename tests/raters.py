"""Tiny rating models: the quickstart's proxy with a drawn head of four ratings, or of one, a reward."""

import functools
import tempfile


@functools.cache
def save_rater(model: str, outputs: int = 4) -> str:
    """Folder of a sequence classification model on the weights in the folder `model`."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    rater = AutoModelForSequenceClassification.from_pretrained(model, num_labels=outputs)
    folder = tempfile.mkdtemp()
    rater.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


@functools.cache
def save_weaker(model: str, by: float = 0.1) -> str:
    """Folder of the model in `model` with noise on its weights, as a share of their deviation: a worse one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    worse = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        for parameter in worse.parameters():
            if parameter.dim() > 1:
                parameter.add_(torch.randn_like(parameter) * parameter.std() * by)
    folder = tempfile.mkdtemp()
    worse.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


@functools.cache
def save_classifier() -> str:
    """File of a fastText model that tells sentences from equations."""
    import fasttext

    folder = tempfile.mkdtemp()
    lines = ["__label__1 she has so many apples and he eats one", "__label__0 ( 1 + 2 ) = 3 #### 3"] * 50
    with open(f"{folder}/lines.txt", "w") as file:
        file.write("\n".join(lines) + "\n")
    model = fasttext.train_supervised(f"{folder}/lines.txt", dim=4, epoch=20, lr=0.5, thread=1, verbose=0)
    model.save_model(f"{folder}/model.bin")
    return f"{folder}/model.bin"
