"""`python -m services.codec`: run one worker with settings from the environment."""

import os
import sys

from services.codec.config import CodecConfig
from services.codec.serve import run
from services.common.env import from_environment
from services.common.errors import DsmError

if __name__ == "__main__":
    try:
        sys.exit(run(from_environment(CodecConfig, os.environ)))
    except DsmError as error:
        sys.exit(f"error: {error}")
