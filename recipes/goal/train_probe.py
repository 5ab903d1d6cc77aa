"""Train the probe of the goal recipes again: a tiny Qwen3-VL that has seen the pictures and questions of easy-VQA.

Usage: python -m recipes.goal.train_probe --easy-vqa FOLDER [--steps 4000]
FOLDER holds train_questions.jsonl.gz and train_images.parquet of the shared data `easy_vqa`. Takes twelve minutes on one core.
"""

import argparse
import gzip
import json
import random
import shutil
import tempfile
from pathlib import Path

from datasets import Dataset, Features, Image, List, Value
from pyarrow import parquet

from hf_datasel import Labels, TargetTraining
from hf_datasel.training import heldout_loss
from tests.vlm import save


HERE = Path(__file__).parent
HELD_OUT = 200
TURNS = List({"role": Value("string"), "content": Value("string")})
FEATURES = Features({"prompt": TURNS, "completion": TURNS, "images": List(Image())})


def rows_of(folder: Path, count: int) -> Dataset:
    """Questions about pictures, shuffled; the first `HELD_OUT` are of pictures that no other row has."""
    with gzip.open(folder / "train_questions.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    images = {row["image_id"]: row["image"] for row in parquet.read_table(folder / "train_images.parquet").to_pylist()}
    draw = random.Random(0)  # noqa: S311 (a repeatable draw, not a secret)
    draw.shuffle(rows)
    apart = {row["image_id"] for row in rows[:HELD_OUT]}
    chosen = rows[:HELD_OUT] + [row for row in rows[HELD_OUT:] if row["image_id"] not in apart][:count]
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": row["question"]}],
                "completion": [{"role": "assistant", "content": row["answer"]}],
                "images": [images[row["image_id"]]],
            }
            for row in chosen
        ],
        features=FEATURES,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--easy-vqa", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--output", type=Path, default=HERE / "probe")
    arguments = parser.parse_args()
    rows = rows_of(arguments.easy_vqa, arguments.steps * 32)
    held_out, train = rows.select(range(HELD_OUT)), rows.select(range(HELD_OUT, len(rows)))
    sft = {
        "learning_rate": 2e-3, "per_device_train_batch_size": 32, "warmup_steps": 50, "lr_scheduler_type": "cosine",
        "logging_steps": 50, "disable_tqdm": True,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        start = save("qwen3_vl", Path(folder, "start"), times=2)
        training = TargetTraining(start, protocol="B", steps=arguments.steps, sft=sft)
        trained = training.train(train, Labels(max_length=None), Path(folder, "trained"))
        print(json.dumps({"held_out_loss": heldout_loss(trained.folder, held_out, Labels(max_length=None))}))
        arguments.output.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
                     "processor_config.json", "generation_config.json"):  # fmt: skip
            if Path(trained.folder, name).is_file():
                shutil.copy(Path(trained.folder, name), arguments.output)


if __name__ == "__main__":
    main()
