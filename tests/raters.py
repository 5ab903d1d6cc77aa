"""A tiny rating model: the quickstart's proxy with a drawn head of four ratings."""

import functools
import tempfile


@functools.cache
def save_rater(model: str) -> str:
    """Folder of a sequence classification model on the weights in the folder `model`."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    rater = AutoModelForSequenceClassification.from_pretrained(model, num_labels=4)
    folder = tempfile.mkdtemp()
    rater.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder
