"""Ways to measure <g_V, g_i> of rows: one file each; `choice` picks."""

from hf_datasel.proxy.engines.choice import EngineName, EngineReport, choose
from hf_datasel.proxy.engines.task import Measured, Task


__all__ = ["EngineName", "EngineReport", "Measured", "Task", "choose"]
