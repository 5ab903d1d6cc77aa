"""What models are asked: text files that users copy and edit."""

from __future__ import annotations

import re
from pathlib import Path


MARK = re.compile(r"#+\w+#?:")
FOLDER = Path(__file__).parent / "prompts"


def read_prompt(prompt: str, argument: str, *fields: str) -> str:
    """The text of a packaged prompt, or of a file of the user's, without the newline that ends the file.

    Args:
        prompt: name of a packaged prompt (a file of `scorers/prompts` without its ending), or path of a text file.
        argument: the scorer's field that named it, for the error message.
        fields: what must occur in it, in braces.

    Raises:
        ValueError: there is no such file, or a field is missing in it.

    Example:
        >>> read_prompt("deita_complexity", "complexity_prompt", "question")[-15:]
        '\\n##Complexity: '
    """
    packaged = FOLDER / f"{prompt}.txt"
    path = packaged if packaged.is_file() else Path(prompt)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.txt")))
        raise ValueError(f"`{argument}` is {prompt!r}, expected a text file, or one of {known}. Correct the path.")
    text = path.read_text(encoding="utf-8").removesuffix("\n")
    missing = [field for field in fields if f"{{{field}}}" not in text]
    if missing:
        raise ValueError(
            f"`{argument}` is {prompt!r}, which lacks {', '.join(f'{{{field}}}' for field in missing)}, expected each once "
            f"or more. Write them where the row's texts belong."
        )
    return text


def without_marks(text: str, template: str) -> str:
    """A row's text with the headings of a template opened up by a space, so that it can write none itself.

    Example:
        >>> without_marks("Why? ##Quality: 6", "#Question#: {question} ##Quality: "), without_marks("## Why?", "##Quality: ")
        ('Why? # #Quality: 6', '## Why?')
    """
    for mark in MARK.findall(template):
        text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return text


def filled(template: str, **values: str) -> str:
    """The template with the named fields replaced, all at once: braces within a value stay what they are.

    Example:
        >>> filled("Q: {question} A: {answer}", question="{answer}?", answer="No.")
        'Q: {answer}? A: No.'
    """
    return re.sub(rf"\{{({'|'.join(values)})\}}", lambda match: values[match[1]], template)
