"""Sampan beside its peers on one machine, as ratios: ``python -m bench``, or ``make bench``.

Every number is measured next to the peer's in the same run, in turns, so that a slow or busy machine
slows both. The peers are Debian's, started and ended by the helpers of ``tests/interop``. What is
measured and what it showed is in docs/measurements.md. Nothing here is timed by ``make test``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # as pytest does
