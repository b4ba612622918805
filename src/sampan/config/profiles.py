"""Which profile holds here: the one that ``SAMPAN_PROFILE`` names, else the first whose ``when`` is true.

It guarantees that every profile's conditions are checked, not only the chosen one's. It does not touch
registry tables: :mod:`sampan.config.registries` replaces them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sampan.config.check import nearest
from sampan.config.environment import PROFILE
from sampan.config.problems import Problems
from sampan.config.schema import ConditionTable, ProfileTable
from sampan.errors import ConfigError, printable

NONE = "none"  # as a value of SAMPAN_PROFILE: no profile, whatever the conditions say
PROFILES_MAX = 100
PATTERN_CHARACTERS_MAX = 200
VALUE_CHARACTERS_MAX = 4096  # of a variable that a pattern is tried on: bounds the search


def choose_profile(
    profiles: Mapping[str, ProfileTable], environ: Mapping[str, str], problems: Problems
) -> str | None:
    """The name of the profile that holds, or None. Wrong conditions and names are added to ``problems``."""
    if len(profiles) > PROFILES_MAX:
        problems.add(("profile",), f"expected at most {PROFILES_MAX} profiles, got {len(profiles)}")
        problems.raise_any()
    holding = [name for name, profile in profiles.items() if _check_and_ask(name, profile, environ, problems)]
    named = environ.get(PROFILE)
    if not named:
        return holding[0] if holding else None
    if named == NONE:
        return None
    if named not in profiles:
        known = ", ".join(profiles) or "there is none"
        got = printable(named, characters_max=60)
        problems.add(
            (f"${PROFILE}",),
            f'expected "{NONE}" or a profile of the file ({known}), got "{got}"',
            nearest(named, profiles),
        )
        return None
    return named


def _check_and_ask(name: str, profile: ProfileTable, environ: Mapping[str, str], problems: Problems) -> bool:
    if name == NONE:
        problems.add(("profile", name), f'expected another name: {PROFILE}="{NONE}" means no profile')
    if profile.when is None:
        return False
    listed = profile.when if isinstance(profile.when, list) else [profile.when]
    if not listed:
        problems.add(("profile", name, "when"), "expected a condition or several, got an empty list")
    answers = []
    for index, condition in enumerate(listed):
        place = (index,) if isinstance(profile.when, list) else ()
        with problems.at("profile", name, "when", *place):
            answers.append(holds(condition, environ))
    return any(answers)


def holds(condition: ConditionTable, environ: Mapping[str, str]) -> bool:
    """Whether ``condition`` is true in ``environ``; an empty variable counts as not set.

    Raises :class:`ConfigError` when it asks for nothing, for several things at once, or by a bad pattern.
    """
    asked = [word for word in ("equals", "set", "matches") if getattr(condition, word) is not None]
    if len(asked) != 1:
        got = " and ".join(asked) or "none of them"
        raise ConfigError(
            f"expected one of equals, set, matches beside env, got {got}",
            hint='as in when = { env = "REGION", equals = "cn" }',
        )
    if not condition.env or "=" in condition.env:
        raise ConfigError(f'expected the name of a variable as env, got "{printable(condition.env)}"')
    value = environ.get(condition.env, "")
    if condition.set is not None:
        return bool(value) is condition.set
    if condition.equals is not None:
        return value == condition.equals
    return _pattern(condition.matches or "").search(value[:VALUE_CHARACTERS_MAX]) is not None


def _pattern(text: str) -> re.Pattern[str]:
    if len(text) > PATTERN_CHARACTERS_MAX:
        raise ConfigError(
            f"expected a pattern of at most {PATTERN_CHARACTERS_MAX} characters in matches, got more"
        )
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            f'expected a regular expression in matches, got "{printable(text)}": {error}'
        ) from error
