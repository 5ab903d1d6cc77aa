"""Forward mode in bfloat16 for a float32 proxy: the same derivative, every number of it rounded to 8 bits."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch

from hf_datasel.proxy.engines.forward_mode import forward_mode
from hf_datasel.proxy.engines.refusals import refuse_where_numbers_jump
from hf_datasel.proxy.engines.task import Engine, Task


def rounded(task: Task) -> Engine:
    """0.8 to 1.1 F per direction on processors that multiply bfloat16 (in F of float32); slower than exact on others.

    Unlike the difference of two rounded losses, a rounded derivative stays a good one. Memory: half a copy of the model.

    Raises:
        NotApplicable: as forward mode.
        ValueError, DataselError: see `refuse_where_numbers_jump`.
    """
    refuse_where_numbers_jump(task, "bfloat16")
    model: Any = deepcopy(task.proxy.model)
    model.to(torch.bfloat16)
    parameters = {name: value for name, value in model.named_parameters() if name in task.proxy.parameters}
    directions = {name: value.to(torch.bfloat16) for name, value in task.directions.items()}
    proxy = replace(task.proxy, model=model, parameters=parameters)
    return forward_mode(replace(task, proxy=proxy, directions=directions))
