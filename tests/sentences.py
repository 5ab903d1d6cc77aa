"""A tiny sentence-transformers model: means over the last hidden states of the quickstart's proxy."""

import functools
import tempfile


@functools.cache
def save_sentence_model(model: str) -> str:
    """Folder of a sentence-transformers model on the weights in the folder `model`."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token = tokenizer.eos_token
    with tempfile.TemporaryDirectory() as weights:
        AutoModel.from_pretrained(model).save_pretrained(weights)
        tokenizer.save_pretrained(weights)
        transformer = Transformer(weights, max_seq_length=512)
        pooling = Pooling(transformer.get_embedding_dimension(), "mean")
        folder = tempfile.mkdtemp()
        SentenceTransformer(modules=[transformer, pooling], device="cpu").save(folder)
    return folder
