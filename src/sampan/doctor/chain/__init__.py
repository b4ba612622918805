"""The chain as the runtime takes it: what it asks for an image, of whom, in which order, and what it prints.

For the checks list: :func:`check_chain`, always; and with ``--pull`` :func:`check_pulls` beside it.
"""

from sampan.doctor.chain.check import check_chain, check_pulls

__all__ = ["check_chain", "check_pulls"]
