"""Rebuild the rows of the goal recipes: pictures of easy-VQA and NLVR, and parts of three clips.

Usage: python -m recipes.goal.build --data FOLDER
FOLDER holds `easy_vqa`, `nlvr` and `video` with the files that README.md names.
"""

import argparse
import gzip
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Picture
from pyarrow import parquet

from recipes.goal.clips import EVALUATION, POOL, Segment


HERE = Path(__file__).parent
PICTURES, HELD_OUT = 120, 16  # of easy-VQA and of NLVR each
SIZE = (96, 54)  # of a frame
TURNS = List({"role": Value("string"), "content": Value("string")})
FEATURES = Features(
    {
        "prompt": TURNS,
        "completion": TURNS,
        "images": List(Image()),
        **{name: Value("string") for name in ("source", "video_id", "license")},
    }
)
LICENSES = {"bigbuckbunny": "CC BY 3.0", "easy_vqa": "MIT"}  # all else: CC BY 4.0


def row(question: str, answer: str, images: list, source: str, video_id: str | None = None) -> dict:
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
        "images": images,
        "source": source,
        "video_id": video_id,
        "license": LICENSES.get(source, "CC BY 4.0"),
    }


def easy_vqa_rows(folder: Path) -> list[dict]:
    """One question for each picture, of the test part: the probe was trained on the other."""
    with gzip.open(folder / "test_questions.jsonl.gz", "rt", encoding="utf-8") as lines:
        asked = [json.loads(line) for line in lines]
    images = {it["image_id"]: it["image"] for it in parquet.read_table(folder / "test_images.parquet").to_pylist()}
    draw = random.Random(0)  # noqa: S311 (a repeatable draw, not a secret)
    draw.shuffle(asked)
    first = {it["image_id"]: it for it in reversed(asked)}
    return [row(it["question"], it["answer"], [images[key]], "easy_vqa") for key, it in sorted(first.items())]


def nlvr_rows(folder: Path) -> list[dict]:
    rows = parquet.read_table(folder / "dev.parquet").to_pylist()
    return [
        row(f"True or false? {it['sentence'].strip()}", it["label"].capitalize(), [it["image"]], "nlvr") for it in rows
    ]


def clip_rows(file: Path, segments: dict[str, Segment]) -> Iterator[dict]:
    import av

    with av.open(str(file)) as clip:
        frames = [frame.to_image().resize(SIZE, Picture.Resampling.LANCZOS) for frame in clip.decode(video=0)]
    for name, segment in segments.items():
        step = (segment.end - segment.start) / (segment.frames - 1)
        places = [round((segment.start + step * i) * (len(frames) - 1)) for i in range(segment.frames)]
        images = [{"bytes": jpeg(frames[place]), "path": None} for place in places]
        for question, answer in segment.asked.items():
            yield row(question, answer, images, file.stem, f"{file.stem}: {name}")


def jpeg(frame: Picture.Image) -> bytes:
    file = io.BytesIO()
    frame.save(file, "JPEG", quality=80)
    return file.getvalue()


def write(name: str, rows: list[dict]) -> None:
    random.Random(0).shuffle(rows)  # noqa: S311
    # Rows about one segment share its frames: compressed in one piece, they are written once.
    rows = sorted(rows, key=lambda it: it["video_id"] or "")
    dataset = Dataset.from_list(rows, features=FEATURES)
    table = dataset.data.table.replace_schema_metadata(FEATURES.arrow_schema.metadata)
    parquet.write_table(table, HERE / name, compression="zstd", compression_level=19, dictionary_pagesize_limit=2**24)
    print(f"{name}: {len(rows)} rows, {(HERE / name).stat().st_size / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    pool, held_out = [], []
    for rows in (easy_vqa_rows(data / "easy_vqa"), nlvr_rows(data / "nlvr")):
        random.Random(1).shuffle(rows)  # noqa: S311
        pool += rows[:PICTURES]
        held_out += rows[PICTURES : PICTURES + HELD_OUT]
    for clip, segments in POOL.items():
        pool += clip_rows(data / "video" / f"{clip}.mp4", segments)
        held_out += clip_rows(data / "video" / f"{clip}.mp4", {"held out": EVALUATION[clip]})
    write("pool.parquet", pool)
    write("evaluation.parquet", held_out)


if __name__ == "__main__":
    main()
