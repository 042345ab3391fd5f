"""`python -m services.lm`: run one worker with settings from the environment."""

import os
import sys

from services.common.env import from_environment
from services.common.errors import DsmError
from services.lm.config import LmConfig
from services.lm.serve import run

if __name__ == "__main__":
    try:
        sys.exit(run(from_environment(LmConfig, os.environ)))
    except DsmError as error:
        sys.exit(f"error: {error}")
