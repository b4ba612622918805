"""Asking one host at a time: what it is, how it is reached, how to log in, what it said.

Nothing is imported here, so that a configuration can be read without loading the HTTP client.
Which host is next, and where the bytes go, is decided in :mod:`sampan.mirror`.
"""
