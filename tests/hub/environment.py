"""A Hub of its own for a process of tests, and no way to any other host."""

import atexit
import os
import shutil
import tempfile

from .server import LoopbackHub


def serve_this_process() -> LoopbackHub:
    """Start a Hub and point the Hugging Face libraries at it. They read these settings when they are imported."""
    hub = LoopbackHub().start()
    # What is left of the user's own settings would win over HF_HOME, or keep the libraries offline.
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_")) and not name.startswith("HF_DATASEL"):
            del os.environ[name]
    os.environ.update(
        HF_ENDPOINT=hub.url,
        HF_TOKEN=hub.token,
        HF_HOME=temporary_folder(),
        HF_HUB_DISABLE_XET="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        # Counts every load_dataset at s3.amazonaws.com.
        HF_UPDATE_DOWNLOAD_COUNTS="0",
    )
    # Whatever asks for another host asks the loopback Hub, which refuses, and remembers.
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ[name] = os.environ[name.upper()] = hub.url
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    return hub


def temporary_folder() -> str:
    """Removed when this process ends. Those it forks end too: the folder is not theirs."""
    folder, owner = tempfile.mkdtemp(prefix="hf_home_"), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
