"""The small model that scores: losses, gradients, directional derivatives, reversible steps, batches."""

from hf_datasel.proxy.endpoint import Endpoint
from hf_datasel.proxy.proxy import LoadedProxy, Proxy


__all__ = ["Endpoint", "LoadedProxy", "Proxy"]
