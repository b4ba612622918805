"""What to do when no host could serve a reference: the hint under the error, from what each of them answered.

It knows only what the attempts say, and takes the place of a hint that was made for whoever runs a mirror.
"""

from __future__ import annotations

from sampan.errors import AllHostsFailed, NotFound
from sampan.oci.reference import DOCKER_HUB, origin_url
from sampan.upstream.host import Host

LOGIN = 401  # a mirror's 403 is its allow-list


def advice(error: AllHostsFailed, via: Host | None) -> str | None:
    """A hint for ``error``; ``via``: the mirror that everything was asked of, if there is one."""
    wants_login = [_login_name(attempt.host) for attempt in error.attempts if attempt.status == LOGIN]
    if via is not None:
        if wants_login:
            return f"{via.url} wants a login: username and a password in pull.via, or docker login {via.name}"
        return f"only {via.url} was asked (pull.via); --direct asks the hosts themselves"
    if wants_login:
        return f"it may exist, for those who log in: docker login {wants_login[-1]}, or see SAMPAN_LOGINS"
    if isinstance(error, NotFound):
        return "no host has it: check the name and the tag, or name a mirror in sampan.toml that has it"
    return error.hint


def _login_name(host: str) -> str:
    """What ``docker login`` is told for it."""
    return DOCKER_HUB if f"https://{host}" == origin_url(DOCKER_HUB) else host
