"""Training: the target model on what was kept, the proxy's warm-up, and held-out loss. The only room with trainers."""

from hf_datasel.training.answers import generate_answers
from hf_datasel.training.co_training import CoTrained, CoTraining
from hf_datasel.training.heldout import heldout_loss
from hf_datasel.training.protocols import protocol_arguments, protocol_epochs
from hf_datasel.training.target import TargetTraining, TrainedTarget
from hf_datasel.training.warm_up import WarmedProxy, WarmUp


__all__ = [
    "CoTrained",
    "CoTraining",
    "TargetTraining",
    "TrainedTarget",
    "WarmUp",
    "WarmedProxy",
    "generate_answers",
    "heldout_loss",
    "protocol_arguments",
    "protocol_epochs",
]
