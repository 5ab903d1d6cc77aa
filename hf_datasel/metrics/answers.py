"""Finds the final answer in a worked solution. Text in, text out; needs no other package."""

from __future__ import annotations

import re


# A minus is a sign only where no operand stands before it: "16-3" ends in 3, "= -3" in -3. Commas group digits in
# threes only, so that the list "1,2,3" is not 123. What models write is hostile: without exponents 1e999999999 costs
# nothing, and repeats are bounded wherever a pattern could otherwise start again inside what it has just read.
_WHOLE = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,9}(?![0-9])|[0-9]+)"
_NUMBER = re.compile(rf"(?:(?<![\w)%.])-)?(?:[0-9]+ (?=[0-9]+/[0-9]))?(?:{_WHOLE}(?:\.[0-9]+)?|\.[0-9]+)(?:/[0-9]+)?")
_ARITHMETIC_FOLLOWS = re.compile(r"\s{0,9}[-+*/\u00d7^]")
_CALCULATOR_MARK = re.compile(r"<<[^<>\n]*>>")

# The rest of the line must begin with a number: "#### Step 2" is a heading, "A: Tom has 3" opens a chain of thought.
_BEFORE_NUMBER = r"[^\w.\-]{0,20}(?:boxed\{)?(?=-?\.?[0-9])"
_MARKERS = (
    re.compile(rf"####{_BEFORE_NUMBER}"),
    re.compile(r"\banswer is\b(?=[^\n]{0,100}[0-9])", re.IGNORECASE),
    re.compile(rf"^\W{{0,20}}(?:final )?(?:a|answer)\W{{0,20}}:{_BEFORE_NUMBER}", re.IGNORECASE | re.MULTILINE),
)


def final_answer(text: str) -> str | None:
    """The number a worked solution ends on, in a form that compares as text; None where it names none.

    Looked for in this order, each time the last one: after `####`, after "answer is", on a line `A:` (also `Answer:`),
    then the last number of the text, which is where a solution cut off short ends up. Where the marked line does
    arithmetic, what its last `=` gives counts.

    Separating commas, `$`, `%`, a plus sign and zeros that change nothing are dropped, so `$1,050.00` is `1050`.
    A fraction stays as written: `2/4` is neither `1/2` nor `0.5`. Words (`1.8 billion`) are not read.

    Source: GSM8K's answers end `#### N` (https://huggingface.co/papers/2110.14168), its released model solutions
        `A: N`.

    Example:
        >>> final_answer("She makes 9 * 2 = $<<9*2=18>>18 a day.\\n#### 18"), final_answer("A: $1,050.00")
        ('18', '1050')
        >>> final_answer("I do not know") is None
        True
    """
    text = _CALCULATOR_MARK.sub("", text).replace("\u2212", "-").replace("$", "")
    for marker in _MARKERS:
        ends = [match.end() for match in marker.finditer(text)]
        if ends:
            return _normalised(_stated(text[ends[-1] :].partition("\n")[0]))
    numbers = _NUMBER.findall(text)
    return _normalised(numbers[-1]) if numbers else None


def _stated(line: str) -> str:
    first = next(_NUMBER.finditer(line))  # every marker pattern asks for a digit
    if _ARITHMETIC_FOLLOWS.match(line, first.end()):
        return next(_NUMBER.finditer(line, line.rfind("=") + 1), first)[0]
    return first[0]


def _normalised(number: str) -> str:
    """Without commas and zeros that change nothing: "-0.50" is "-0.5", "-0" is "0"."""
    if "/" in number:
        return number.replace(",", "")
    whole, _, decimals = number.replace(",", "").removeprefix("-").partition(".")
    whole, decimals = whole.lstrip("0") or "0", decimals.rstrip("0")
    plain = f"{whole}.{decimals}" if decimals else whole
    return f"-{plain}" if number.startswith("-") and plain != "0" else plain
