"""containerd, as a kubelet pulls by it. Its rules are in :mod:`.registry`."""

from sampan.runtimes.containerd.runtime import Containerd

__all__ = ["Containerd"]
