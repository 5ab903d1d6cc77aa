"""What a row is: TRL formats turned into exactly the tokens and labels SFTTrainer trains on; who a row is; anchors."""

from hf_datasel.rows.anchors import content_rows, refuse_overlap, stratified
from hf_datasel.rows.frames import sample_frames, with_frames
from hf_datasel.rows.identity import content_only, row_digest, with_row_ids
from hf_datasel.rows.labels import Labels, TokenRow, check_columns, prepare_tokenizer, token_row
from hf_datasel.rows.pixel_budget import within_pixels


__all__ = [
    "Labels",
    "TokenRow",
    "check_columns",
    "content_only",
    "content_rows",
    "prepare_tokenizer",
    "refuse_overlap",
    "row_digest",
    "sample_frames",
    "stratified",
    "token_row",
    "with_frames",
    "with_row_ids",
    "within_pixels",
]
