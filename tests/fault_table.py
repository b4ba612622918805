"""What the tests of the table of 26 faults share: where bad hosts stand, and how often each may be met."""

from __future__ import annotations

FAULTED_MAX = 3
FAULTED_LOGIN_MAX = 6  # a request without a token, and another to the realm
LOGINS = {"realm refused", "realm says 403"}
NEVER_MET = {"connection refused", "stale tag"}  # no request arrives; nobody asks it what a tag means
ASKED_AGAIN = {"HEAD 405"}  # HEAD only confirms what is known: the fault is met at the second pull

ORDERS = {
    "bad, good": ("bad", "good"),
    "good, bad": ("good", "bad"),
    "two bad, good": ("bad", "worse", "good"),
}
PLACES = {"bad": "127.0.0.2", "worse": "127.0.0.3", "good": "127.0.0.4"}


def faulted_max(row: str) -> int:
    """How many requests may meet the fault at one host."""
    return FAULTED_LOGIN_MAX if row in LOGINS else FAULTED_MAX
