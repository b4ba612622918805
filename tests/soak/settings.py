"""How long a soak takes: `make soak KILLS=1000 MINUTES=10`."""

from __future__ import annotations

import os

KILLS = int(os.environ.get("SOAK_KILLS", "1000"))
MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
SEEDS = int(os.environ.get("SOAK_SEEDS", "40"))
EXAMPLES = int(os.environ.get("SOAK_EXAMPLES", "1000"))
