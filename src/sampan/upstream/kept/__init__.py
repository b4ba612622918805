"""What is remembered of hosts, as a small document that outlives the process.

Guarantees that whatever the document says, reading it ends with a memory that a process could have had by
itself, or with :class:`NotKept`; and that no secret is in it, nor anything made of one.

**Time.** In memory there are stamps of the monotonic clock, which mean nothing to the next process. Here
there is one stamp of the wall clock, when it was written, and all else is so many seconds before or after
that. A clock that was set forward in between lets things expire early; one that was set back lets nothing
last longer than the seconds that were left.

**Whose memory it is.** A machine is known by its URL. A room (a host, a repository there, manifests or blobs)
belongs to the host as it is configured, its login included, and for that the document would have to hold the
login, or something that shows whether a guess at it is right. So it has rooms of those hosts alone whose
settings have no secret, by their name and a digest of those settings; the others are asked anew. Of a refused
login nothing is kept: to start anew is what people do when they have corrected one. Refusals are an
operator's and pulls a machine's, but for those of a login. Whoever is not configured any more is forgotten,
and so are objects: a 404 is believed for a minute.
"""

from sampan.upstream.kept.document import BYTES_MAX, NotKept
from sampan.upstream.kept.reading import revive
from sampan.upstream.kept.writing import written

__all__ = ["BYTES_MAX", "NotKept", "revive", "written"]
