"""One process's share of a job: see `worker`."""

import sys
from pathlib import Path

from hf_datasel.runs.worker import main


main(Path(sys.argv[1]), sys.argv[2])
