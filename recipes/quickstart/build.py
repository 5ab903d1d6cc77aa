"""Rebuild the rows of the quickstart from GSM8K and SVAMP. Needs only Python.

Usage: python recipes/quickstart/build.py --gsm8k FOLDER --svamp SVAMP.json.gz
FOLDER holds train.jsonl.gz and example_model_solutions.jsonl.gz of github.com/openai/grade-school-math.
"""

import argparse
import gzip
import json
import random
from pathlib import Path


HERE = Path(__file__).parent
WRITERS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
GOLD, WRITTEN, SVAMP, HELD_OUT, EVALUATION, SHORT, SHORT_POOL = 120, 180, 300, 100, 60, 8, 20
LONGEST = 700  # characters of question and answer: most rows then fit the proxy's 512 tokens


def lines(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def row(question: str, answer: str, **remarks: object) -> dict:
    return {"prompt": question.strip() + "\n", "completion": answer.strip(), **remarks}


def gold_rows(gsm8k: Path) -> list[dict]:
    rows = [
        row(r["question"], r["answer"], task="gsm8k", writer="human", correct=True)
        for r in lines(gsm8k / "train.jsonl.gz")
    ]
    return [r for r in rows if len(r["prompt"] + r["completion"]) <= LONGEST]


def model_rows(gsm8k: Path, draw: random.Random) -> list[dict]:
    rows = []
    for problem in lines(gsm8k / "example_model_solutions.jsonl.gz"):
        writer = draw.choice(WRITERS)
        # The models end on "A: 18", the humans on "#### 18": written alike, so that the mark does not give them away.
        solution = problem[writer]["solution"].replace("\nA: ", "\n#### ")
        rows.append(
            row(problem["question"], solution, task="gsm8k", writer=writer, correct=problem[writer]["is_correct"])
        )
    return [r for r in rows if len(r["prompt"] + r["completion"]) <= LONGEST]


def svamp_rows(svamp: Path) -> list[dict]:
    with gzip.open(svamp, "rt", encoding="utf-8") as file:
        problems = json.load(file)
    rows = []
    for problem in problems:
        value = problem["Answer"]
        value = int(value) if float(value).is_integer() else value
        question = f"{problem['Body'].strip().rstrip('.')}. {problem['Question'].strip()}"
        rows.append(
            row(question, f"{problem['Equation']} = {value}\n#### {value}", task="svamp", writer="human", correct=True)
        )
    return rows


def write(name: str, rows: list[dict]) -> None:
    text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
    (HERE / name).write_text(text, encoding="utf-8")
    print(f"{name}: {len(rows)} rows, {len(text) / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gsm8k", type=Path, required=True)
    parser.add_argument("--svamp", type=Path, required=True)
    arguments = parser.parse_args()
    draw = random.Random(0)  # noqa: S311 (a repeatable draw, not a secret)
    gold, written, svamp = gold_rows(arguments.gsm8k), model_rows(arguments.gsm8k, draw), svamp_rows(arguments.svamp)
    for rows in (gold, written, svamp):
        draw.shuffle(rows)
    pool = gold[:GOLD] + written[:WRITTEN] + svamp[:SVAMP]
    draw.shuffle(pool)
    write("pool.jsonl", pool)
    # For methods that train once for every row.
    write("pool_short.jsonl", sorted(pool, key=lambda r: len(r["prompt"] + r["completion"]))[:SHORT_POOL])
    held_out = gold[GOLD : GOLD + HELD_OUT]
    write("held_out.jsonl", held_out)
    # For methods that show a row before an anchor: both must fit the proxy's 512 tokens.
    write("held_out_short.jsonl", sorted(held_out, key=lambda r: len(r["prompt"] + r["completion"]))[:SHORT])
    write("evaluation.jsonl", gold[GOLD + HELD_OUT : GOLD + HELD_OUT + EVALUATION])


if __name__ == "__main__":
    main()
