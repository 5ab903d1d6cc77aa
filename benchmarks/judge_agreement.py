"""Does a judge, or a score, prefer the response that people prefer?

The 999 pairs of the PandaLM test set with three human votes each (Apache-2.0). Each response is scored alone, as a row; the
pair's verdict is whichever has the higher score, a tie where they are equal. With an endpoint in the environment
(HF_DATASEL_JUDGE_URL, HF_DATASEL_JUDGE_MODEL, and optionally HF_DATASEL_JUDGE_KEY, the name of the variable with the key)
`LLMJudge` rates all 1,998 responses; replies are kept in the journal. Beside it always: length, the two machine judges that
came with the data (they saw both responses at once), and scores by the quickstart's proxy, which has read children's stories.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
from datasets import Dataset

from hf_datasel import IFD, Endpoint, Labels, LLMJudge, Perplexity, Proxy, ResponseLength, score
from hf_datasel.scorers.judging import judge_ledger


ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "pandalm_human_pairs"
RESAMPLES = 1000


def run(quick: bool = False) -> dict:
    if not DATA.is_dir():
        raise SystemExit(f"`{DATA}` is not there, expected the PandaLM test set. Nothing was measured.")
    pairs = read_pairs(300 if quick else None)
    rows = rows_of(pairs)
    proxy, labels = Proxy(str(ROOT / "recipes" / "quickstart" / "proxy")), Labels(max_length=512)
    scorers = [ResponseLength(), Perplexity(proxy, labels=labels), IFD(proxy, drop_above_one=False, labels=labels)]
    judge = judge_in_environment()
    scorers += [judge] if judge else []
    scored = score(rows, *scorers)
    verdicts = {name: preferred(np.array(scored[name])) for name in (scorer.columns[0] for scorer in scorers)}
    for name in ("gpt", "pandalm"):
        verdicts[f"{name}, both responses at once"] = np.array([pair[name] for pair in pairs], np.float64)
    votes = np.array([[pair[f"annotator{number}"] for number in (1, 2, 3)] for pair in pairs])
    groups = np.unique([pair["instruction"] + pair["input"] for pair in pairs], return_inverse=True)[1]
    figures = {
        "pairs": len(pairs),
        "instructions": int(groups.max()) + 1,
        "judge": judge.spec if judge else "none: no endpoint in HF_DATASEL_JUDGE_URL and HF_DATASEL_JUDGE_MODEL",
        "one_person_with_another": people(votes),
        "with_the_majority_of_people": {name: agreement(its, votes, groups) for name, its in verdicts.items()},
    }
    return {**figures, "ledger": judge_ledger(scored)} if judge else figures


def judge_in_environment() -> LLMJudge | None:
    """The judge that the environment names, if it does."""
    url, model = os.environ.get("HF_DATASEL_JUDGE_URL"), os.environ.get("HF_DATASEL_JUDGE_MODEL")
    if not model:
        return None
    return LLMJudge(Endpoint(model, base_url=url, key_variable=os.environ.get("HF_DATASEL_JUDGE_KEY")))


def read_pairs(count: int | None) -> list[dict]:
    """Pairs with three votes each and the verdicts of two machine judges: 1 or 2 for the better response, 0 for a tie."""
    files = ("testset-v1", "gpt-3.5-turbo-testset-v1", "pandalm-7b-testset-v1")
    read = [json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes())) for name in files]
    pairs = []
    for pair, gpt, pandalm in zip(*read, strict=True):
        assert pair["idx"] == gpt["idx"] == pandalm["idx"]
        pairs.append({**pair, "gpt": label(gpt["gpt_result"]), "pandalm": label(pandalm["pandalm_result"])})
    return pairs if count is None else pairs[:: len(pairs) // count][:count]


def label(said: object) -> float:
    """0, 1 or 2; NaN for what is none of them."""
    text = str(said).strip().lower()
    return {"0": 0.0, "tie": 0.0, "1": 1.0, "2": 2.0}.get(text, float("nan"))


def rows_of(pairs: list[dict]) -> Dataset:
    """Two rows a pair, one after the other."""
    rows = []
    for pair in pairs:
        prompt = "\n".join(text for text in (pair["instruction"], pair["input"]) if text) + "\n"
        rows += [{"prompt": prompt, "completion": str(pair[f"response{number}"])} for number in (1, 2)]
    return Dataset.from_list(rows)


def preferred(scores: np.ndarray) -> np.ndarray:
    """(P,) 1 or 2 for the response with the higher of 2 P scores, 0 for a tie, NaN where one is missing."""
    first, second = scores[::2], scores[1::2]
    found = np.where(first > second, 1.0, np.where(second > first, 2.0, 0.0))
    return np.where(np.isnan(first) | np.isnan(second), np.nan, found)


def majority(votes: np.ndarray) -> np.ndarray:
    """(P,) what at least two of three people say, NaN where all differ."""
    counted = [Counter(row.tolist()).most_common(1)[0] for row in votes]
    return np.array([said if times > 1 else np.nan for said, times in counted])


def people(votes: np.ndarray) -> float:
    """Mean share of pairs in which two of the three say the same."""
    return round(float(np.mean([(votes[:, a] == votes[:, b]).mean() for a, b in ((0, 1), (0, 2), (1, 2))])), 3)


def agreement(verdict: np.ndarray, votes: np.ndarray, groups: np.ndarray) -> dict:
    """How often a verdict is the people's, of the pairs that it has one for and on which a majority agrees.

    `same` counts ties as an answer of their own. `prefers_the_better` leaves out pairs that people find equal, and counts a
    tie as half: 0.5 is a coin. The interval is of 1,000 draws of instructions, since pairs of one are alike.
    """
    wanted = majority(votes)
    there = ~np.isnan(wanted) & ~np.isnan(verdict)
    same = (verdict == wanted).astype(float)
    better = np.where(verdict == 0, 0.5, same)
    clear = there & (wanted != 0)
    draw = np.random.default_rng(0)
    size = int(groups.max()) + 1
    hits, counts = np.bincount(groups[clear], better[clear], size), np.bincount(groups[clear], minlength=size)
    drawn = draw.integers(0, size, (RESAMPLES, size))
    spread = np.percentile(hits[drawn].sum(1) / np.maximum(counts[drawn].sum(1), 1), [2.5, 97.5])
    return {
        "pairs_without_a_verdict": int(np.isnan(verdict).sum()),
        "ties": round(float((verdict[there] == 0).mean()), 3),
        "same": round(float(same[there].mean()), 3),
        "prefers_the_better": round(float(better[clear].mean()), 3),
        "interval": [round(float(end), 3) for end in spread],
    }
