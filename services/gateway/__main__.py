"""`python -m services.gateway`: run a gateway with settings from the environment."""

import os
import sys

from services.common.env import from_environment
from services.common.errors import DsmError
from services.gateway.config import GatewayConfig
from services.gateway.serve import run

if __name__ == "__main__":
    try:
        sys.exit(run(from_environment(GatewayConfig, os.environ)))
    except DsmError as error:
        sys.exit(f"error: {error}")
