"""Rebuild the rows and the proxy of this recipe from easy-VQA (github.com/vzhou842/easy-VQA), in about five minutes.

Usage, in the repository's root, with easy-VQA beside it in shared/data/easy_vqa: python -m recipes.ost_vlm.build
"""

import shutil
import tempfile
from pathlib import Path

from datasets import Dataset

from benchmarks._easy_vqa import clean_rows, noisy_rows
from benchmarks.vlm_study import SHARES, Size, model, quiet


HERE = Path(__file__).parent
POOL, HELD_OUT, EVALUATION = 600, 300, 150
WEIGHTS = ("config.json", "generation_config.json", "model.safetensors", "processor_config.json", "tokenizer.json",
           "tokenizer_config.json")  # fmt: skip


def rows() -> dict[str, Dataset]:
    """Pool, anchors and evaluation, each about other images."""
    pool, _ = noisy_rows(POOL, SHARES, seed=0)
    held_out = clean_rows("test", range(200), HELD_OUT, seed=0)
    return {"pool": pool, "held_out": held_out, "evaluation": clean_rows("test", range(200, 1000), EVALUATION, seed=0)}


def main() -> None:
    quiet()
    for name, dataset in rows().items():
        dataset.to_parquet(str(HERE / f"{name}.parquet"))
    (HERE / "proxy").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        trained = model(Size(), "proxy", Path(folder))["folder"]
        for name in WEIGHTS:
            shutil.copy(Path(trained, name), HERE / "proxy" / name)


if __name__ == "__main__":
    main()
