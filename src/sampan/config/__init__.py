"""``sampan.toml`` and the environment, read into values; the only place that builds objects from them.

``Config`` and its parts are here. Building a mirror is :func:`sampan.config.build.build`, kept apart
because it imports everything.
"""

from sampan.config.address import Address
from sampan.config.registries import RegistryConfig
from sampan.config.settings import Config, RewriteConfig, ServerConfig, StoreConfig, TagsConfig

__all__ = [
    "Address",
    "Config",
    "RegistryConfig",
    "RewriteConfig",
    "ServerConfig",
    "StoreConfig",
    "TagsConfig",
]
