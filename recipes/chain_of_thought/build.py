"""Rows for ost_tabmwp.yaml and ost_mathvision.yaml: a picture, a question, and a solution that a model wrote, right or wrong.

Usage: python recipes/chain_of_thought/build.py tabmwp [--data FOLDER] [--output FOLDER] [--text] [--limit N]
FOLDER holds tabmwp/ (test1k.parquet, dev400.parquet, gpt3_outputs_test1k.jsonl.gz, from github.com/lupantech/PromptPG) or
mathvision/ (dev1000.parquet, model_outputs_dev1000.jsonl.gz, from github.com/mathllm/MATH-V). What is written stays with you:
TabMWP is CC BY-NC-SA 4.0, so neither it nor a selection from it may be sold; MATH-Vision is MIT, and a benchmark: a model
trained on these rows has no MATH-Vision score.
"""

from __future__ import annotations

import argparse
import gzip
import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, concatenate_datasets


ROOT = Path(__file__).parents[2]
TABMWP_WRITER = "gpt3_fewshot2_cot_TQ-SA"  # the only run with solutions: 620 of its 1,000 are right
# Those that saw the picture.
MATHVISION_WRITERS = ("gemini-pro-vision CoT", "InternLM-XComposer2-VL CoT", "qwen-vl-max CoT")


def tabmwp(data: Path, as_text: bool = False) -> dict[str, Dataset]:
    """Pool: 1,000 problems with GPT-3's solution. Held out and evaluation: 200 others each, with the solution of the book."""
    solutions = {
        row["pid"]: row for row in lines(data / "gpt3_outputs_test1k.jsonl.gz") if row["run"] == TABMWP_WRITER
    }
    pool = []
    for row in problems(data / "test1k.parquet"):
        written = solutions[row["pid"]]
        pool.append(tabmwp_row(row, written["output"], "gpt-3", written["true_false"], as_text))
    apart = shuffled(problems(data / "dev400.parquet"), "pid")
    gold = [
        tabmwp_row(row, f"{row['solution']} The answer is {row['answer']}.", "book", True, as_text) for row in apart
    ]
    # Answers are compared as numbers, so the evaluation asks for some.
    asked = [row for row in gold[200:] if row["ans_type"] in ("integer_number", "decimal_number")]
    return {"pool": dataset(pool), "held_out": dataset(gold[:200]), "evaluation": dataset(asked)}


def tabmwp_row(row: dict[str, Any], solution: str, writer: str, correct: bool, as_text: bool) -> dict[str, Any]:
    choices = f"\nOptions: {', '.join(row['choices'])}" if row["choices"] else ""
    question = row["question"] + (f" (Unit: {row['unit']})" if row["unit"] else "") + choices
    table = f"{row['table_title'] or 'Table'}\n{row['table']}\n\n"
    # GPT-3 was shown line breaks as two characters, and writes them so.
    solution = solution.replace("\\n", "\n").strip()
    remarks = {"id": row["pid"], "writer": writer, "correct": correct, "grade": str(row["grade"])}
    return {**turns(table + question if as_text else question, solution, row["image"], as_text), **remarks,
            "ans_type": row["ans_type"]}  # fmt: skip


def mathvision(data: Path, as_text: bool = False) -> dict[str, Dataset]:
    """Pool: 741 problems with the solutions of three models. Held out and evaluation: 259 others, with the solution of the book."""
    by_id = {row["id"]: row for row in problems(data / "dev1000.parquet")}
    pool = [
        mathvision_row(by_id[row["id"]], row["response"], row["run"], row["correct"], as_text)
        for row in lines(data / "model_outputs_dev1000.jsonl.gz")
        if row["run"] in MATHVISION_WRITERS and not by_id[row["id"]]["solution"]
    ]
    apart = shuffled([row for row in by_id.values() if row["solution"]], "id")
    gold = [mathvision_row(row, row["solution"], "book", True, as_text) for row in apart]
    return {"pool": dataset(pool), "held_out": dataset(gold[:129]), "evaluation": dataset(gold[129:])}


def mathvision_row(row: dict[str, Any], solution: str, writer: str, correct: bool, as_text: bool) -> dict[str, Any]:
    options = "\nOptions: " + ", ".join(row["options"]) if row["options"] else ""
    question = row["question"].replace("<image1>", "").strip() + options
    remarks = {"id": row["id"], "writer": writer, "correct": correct, "subject": row["subject"], "level": row["level"]}
    return {**turns(question, solution.strip(), row["image"], as_text), **remarks}


def turns(question: str, solution: str, image: dict[str, Any], as_text: bool) -> dict[str, Any]:
    if as_text:
        return {"prompt": question + "\n", "completion": solution}
    turn = {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": solution}],
    }
    return {"image": image, **turn}


def shuffled(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """The same order on every machine, and none of the file's."""
    return sorted(rows, key=lambda row: blake2b(row[key].encode()).digest())


def problems(path: Path) -> list[dict[str, Any]]:
    from pyarrow import parquet

    return parquet.read_table(path).to_pylist()


def lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def dataset(rows: list[dict[str, Any]]) -> Dataset:
    made = Dataset.from_list(rows)
    return made.cast(Features({**made.features, "image": Image()})) if "image" in made.column_names else made


def shortened(rows: Dataset, limit: int) -> Dataset:
    """As many right as wrong rows, as far as there are both."""
    right, wrong = (
        rows.filter(lambda correct, wanted=kind: correct == wanted, input_columns="correct") for kind in (True, False)
    )
    halves = [half.select(range(min(len(half), limit))) for half in (right, wrong) if len(half)]
    return concatenate_datasets([half.select(range(min(len(half), -(-limit // len(halves))))) for half in halves])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("tabmwp", "mathvision"))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--output", type=Path, help="default: runs/data/NAME, where the recipe looks")
    parser.add_argument(
        "--text", action="store_true", help="tables as text, and no pictures: for models that only read"
    )
    parser.add_argument("--limit", type=int, help="rows of each file, for a trial")
    arguments = parser.parse_args()
    output = arguments.output or ROOT / "runs" / "data" / arguments.name
    made = {"tabmwp": tabmwp, "mathvision": mathvision}[arguments.name](
        arguments.data / arguments.name, arguments.text
    )
    for name, rows in made.items():
        rows = rows if arguments.limit is None else shortened(rows, arguments.limit)
        rows.to_parquet(str(output / f"{name}.parquet"))
        print(f"{output / name}.parquet: {len(rows)} rows, {sum(rows['correct'])} right")


if __name__ == "__main__":
    main()
