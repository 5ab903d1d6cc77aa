"""`GoalBins`: the bins of a row that a goal builder balances, and the keys by which it tells copies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from hf_datasel.contracts import Batch, Columns
from hf_datasel.errors import BadRow
from hf_datasel.scorers.goal.batches import columns_of, unbatched
from hf_datasel.scorers.goal.text import Fidelity, check_fidelity, digest, normalised, question_and_answer, words


TEMPORAL_WORDS = frozenset(
    [
        "before",
        "after",
        "then",
        "while",
        "during",
        "first",
        "next",
        "finally",
        "sequence",
        "later",
        "earlier",
        "transition",
        "happen",
    ]
)
# The options of a multiple-choice question: the word, or at least two lines that open with a letter.
CHOICE = re.compile(r"\bchoices?\b", re.IGNORECASE)
OPTION_LINE = re.compile(r"^\s*\(?[A-H][.):]\s", re.MULTILINE)
QUESTION_BINS = ((6, "tiny"), (14, "short"), (30, "medium"), (60, "long"))
ANSWER_BINS = ((2, "tiny"), (8, "short"), (24, "medium"), (64, "long"))
DURATION_BINS = ((1, "image"), (8, "very_short"), (24, "short"), (64, "medium"), (160, "long"))
TEXT_COLUMNS = ("prompt", "completion", "messages", "conversations", "question", "answer", "text")
IMAGE, VIDEO, TEXT = "image_qa", "short_video", "text"


def bin_of(size: int, bins: tuple[tuple[int, str], ...], beyond: str) -> str:
    """The first bin whose upper end holds the size.

    Example:
        >>> bin_of(14, QUESTION_BINS, "very_long"), bin_of(61, QUESTION_BINS, "very_long")
        ('short', 'very_long')
    """
    return next((name for end, name in bins if size <= end), beyond)


def source_group(source: str | None) -> str:
    """Sources that belong together: up to a parenthesis, else the first four parts between underscores.

    Example:
        >>> [source_group(name) for name in ("nextqa_0-30_s_academic_v0_1", "vqav2(cauldron)", "a_b_c", "")]
        ['nextqa_0-30_s_academic', 'vqav2', 'a_b_c', 'unknown']
    """
    name = (source or "").strip()
    name = name.partition("(")[0].strip() if "(" in name else "_".join(name.split("_")[:4])
    return name or "unknown"


def temporal_tag(question: str, bucket: str, fidelity: Fidelity = "corrected") -> str:
    """Whether a question asks for time: `Temporal` by its keywords, else `Mixed`; `Static` where there is no video.

    Example:
        >>> temporal_tag("What happens after the man opens the red door?", VIDEO)
        'Temporal'
        >>> temporal_tag("What happens here?", VIDEO), temporal_tag("What comes after B?", IMAGE)
        ('Mixed', 'Static')
    """
    if bucket != VIDEO:
        return "Static"
    return "Temporal" if TEMPORAL_WORDS.intersection(words(question, fidelity)) else "Mixed"


def question_form(question: str, fidelity: Fidelity = "corrected") -> str:
    """`MCQ` for multiple choice, else `Open`.

    The authors look for options after they have removed the newlines that options stand behind, so only the word
    "choice" is found; `"corrected"` looks at the question as it was written.

    Example:
        >>> asked = "Which one?\\nA. a cat\\nB. a dog"
        >>> question_form(asked), question_form(asked, "authors")
        ('MCQ', 'Open')
    """
    if CHOICE.search(question):
        return "MCQ"
    return "MCQ" if fidelity == "corrected" and len(OPTION_LINE.findall(question)) >= 2 else "Open"


@dataclass(frozen=True)
class GoalBins:
    """What the text and the media of a row say, as columns to balance and to tell copies by. Cost: no forward pass.

    For `Dataset.map`; it scores nothing. A dialogue is one row: its user turns joined are the question, its assistant
    turns the answer, and the row itself is left as it is.

    Args:
        source: column that names where a row comes from; without it every source is `unknown`.
        bucket: column that says `image_qa`, `short_video` or `text`. Without it: a row with a video, or with a value in
            the `video_id` column, is a video; one with images an image; another is text (which the paper does not have).
        video_id: column that names the video a row is about, where there is one.
        num_frames: column with the number of frames; without it the frames among the images are counted, and a row whose
            video is one file has the duration `unknown`.
        temporal: column with the temporal necessity of the question (1 temporal, 0.5 mixed, 0 static), as a probe judged
            it; without it the tag comes from keywords, as in the released builder.
        fidelity: `"authors"` tokenizes ASCII alone and misses multiple choice; see `words` and `question_form`.

    Writes:
        `goal_status` (`"ok"`, `"no_question"`, `"no_answer"`); `goal_bucket`, `goal_duration`, `goal_temporal`,
        `goal_form`, `goal_question_length`, `goal_answer_length`, `goal_source_group` (the stratum); `goal_source`;
        `goal_question_words`, `goal_answer_words`, `goal_distinct_words` (counts); `goal_text_key`, `goal_media_key`
        (copies share them; no media, no media key) and `goal_video_id` (missing where there is no video).

    Raises:
        BadRow: a named column is not there, or the rows have no text.

    Source: the released builder (bins, keywords and their limits). https://huggingface.co/papers/2603.12478, 0.C.1 names
        the strata.

    Example:
        >>> found = GoalBins()({"prompt": ["What is this?"], "completion": ["A cat."], "images": [["cat.png"]]})
        >>> [found[name][0] for name in ("goal_bucket", "goal_question_length", "goal_answer_length", "goal_form")]
        ['image_qa', 'tiny', 'tiny', 'Open']
    """

    source: str | None = None
    bucket: str | None = None
    video_id: str | None = None
    num_frames: str | None = None
    temporal: str | None = None
    fidelity: Fidelity = "corrected"

    columns = (
        "goal_status", "goal_bucket", "goal_duration", "goal_temporal", "goal_form", "goal_question_length",
        "goal_answer_length", "goal_source_group", "goal_source", "goal_question_words", "goal_answer_words",
        "goal_distinct_words", "goal_text_key", "goal_media_key", "goal_video_id",
    )  # fmt: skip
    algo_version = 1

    def __post_init__(self) -> None:
        check_fidelity(self.fidelity)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it reads beside a row's content."""
        return tuple(name for name in (*TEXT_COLUMNS, *self._named) if name is not None)

    @property
    def needs(self) -> tuple[str, ...]:
        """Those of `reads` that must be there."""
        return tuple(name for name in self._named if name is not None)

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the columns."""
        return {"scorer": "GoalBins", "algo_version": self.algo_version, **asdict(self)}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """The bins of B rows (or one): see the class."""
        own = self.needs
        missing = [name for name in own if name not in batch]
        if missing:
            raise BadRow(
                f"`GoalBins` names the columns {missing}, expected them among {sorted(batch)}. Correct the names."
            )
        found, size, single = columns_of(batch, (*TEXT_COLUMNS, "images", "image", "videos", "video", *own))
        rows = [self._row({name: values[i] for name, values in found.items()}) for i in range(size)]
        return unbatched({name: [row[i] for row in rows] for i, name in enumerate(self.columns)}, single)

    @property
    def _named(self) -> tuple[str | None, ...]:
        return (self.source, self.bucket, self.video_id, self.num_frames, self.temporal)

    def _row(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        asked, answered = question_and_answer(row)
        question, answer = normalised(asked), normalised(answered)
        status = "no_answer" if not answer else "no_question" if not question else "ok"
        images, videos = _media(row, "images", "image"), _media(row, "videos", "video")
        named = row.get(self.video_id) if self.video_id else None
        video_id = str(named) if named not in (None, "") else None
        bucket = self._bucket(row, bool(videos) or video_id is not None, bool(images))
        question_words, answer_words = words(question, self.fidelity), words(answer, self.fidelity)
        source = str(row.get(self.source) or "") if self.source else ""
        media = [media_key(item) for item in (*videos, *images)] if video_id is None else [f"video {video_id}"]
        if bucket == VIDEO and video_id is None and media:
            video_id = digest(*media)
        return (
            status,
            bucket,
            self._duration(row, bucket, images),
            self._temporal(row, question, bucket),
            question_form(asked, self.fidelity),
            bin_of(len(question_words), QUESTION_BINS, "very_long"),
            bin_of(len(answer_words), ANSWER_BINS, "very_long"),
            source_group(source),
            source,
            len(question_words),
            len(answer_words),
            len(set(answer_words)),
            digest(question, answer),
            digest(*media) if media else None,
            video_id,
        )

    def _bucket(self, row: Mapping[str, Any], has_video: bool, has_images: bool) -> str:
        if self.bucket is None:
            return VIDEO if has_video else IMAGE if has_images else TEXT
        bucket = row[self.bucket]
        if bucket not in (IMAGE, VIDEO, TEXT):
            raise BadRow(
                f"`{self.bucket}` is {bucket!r}, expected {IMAGE!r}, {VIDEO!r} or {TEXT!r}. Map yours to these."
            )
        return str(bucket)

    def _duration(self, row: Mapping[str, Any], bucket: str, images: list[Any]) -> str:
        frames = row.get(self.num_frames) if self.num_frames else len(images) or None
        if bucket != VIDEO:
            return "image" if bucket == IMAGE else "text"
        return "unknown" if frames is None else bin_of(int(frames), DURATION_BINS, "very_long")

    def _temporal(self, row: Mapping[str, Any], question: str, bucket: str) -> str:
        if self.temporal is None:
            return temporal_tag(question, bucket, self.fidelity)
        necessity = row[self.temporal]
        # A verdict that is missing is what the probe calls undecided.
        return {1.0: "Temporal", 0.0: "Static"}.get(0.5 if necessity is None else float(necessity), "Mixed")


def media_key(item: Any) -> str:
    """What tells one image or video from another: its bytes, its pixels, or else its path.

    Example:
        >>> media_key("cat.png"), media_key({"path": "cat.png", "bytes": None})
        ('cat.png', 'cat.png')
    """
    if isinstance(item, str):
        return item
    if isinstance(item, Mapping):
        content = item.get("bytes")
        return str(item.get("path")) if content is None else blake2b(content, digest_size=16).hexdigest()
    if hasattr(item, "tobytes"):  # a decoded image, or an array of pixels
        shape = getattr(item, "size", None) if not hasattr(item, "shape") else item.shape
        return blake2b(f"{shape}".encode() + item.tobytes(), digest_size=16).hexdigest()
    raise BadRow(
        f"`row` holds media of type {type(item).__name__}, expected paths, images, arrays or undecoded media. Cast the "
        f"column to `Image(decode=False)` or `Video(decode=False)`."
    )


def _media(row: Mapping[str, Any], plural: str, single: str) -> list[Any]:
    if row.get(plural) is not None:
        return [item for item in row[plural] if item is not None]
    return [] if row.get(single) is None else [row[single]]
