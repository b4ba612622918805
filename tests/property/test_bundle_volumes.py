"""Whatever became of a volume: it is right to the byte, its damage is found, or it is refused as ours."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from bundles import LIST_BYTES, contents_of, volume_bytes
from sampan.bundle.contents import parse_contents, render_contents
from sampan.bundle.layout import check_layout
from sampan.bundle.verify import verify
from sampan.bundle.volume_set import read_set
from sampan.errors import BundleError

RIGHT = volume_bytes(contents_of())
DOCUMENT = json.loads(render_contents(contents_of()))
LEAVES = st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | st.text(max_size=20)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
SPLICES = st.tuples(st.integers(0, len(RIGHT)), st.integers(0, 2000), st.binary(max_size=2000))


@given(st.lists(SPLICES, min_size=1, max_size=3))
def test_bytes_taken_out_and_put_in_anywhere_never_pass_for_right(
    splices: list[tuple[int, int, bytes]],
) -> None:
    data = RIGHT
    for start, count, new in splices:
        data = data[:start] + new + data[start + count :]
    with TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        path = Path(directory) / "images.tar"
        path.write_bytes(data)
        try:
            found = verify(read_set([path]), told=lambda _: None, stop=threading.Event())
        except BundleError:
            return
    assert bool(found.damages) == (data != RIGHT)


@given(st.data())
def test_a_list_with_anything_in_any_of_its_places_is_read_or_refused(data: st.DataObject) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    for _ in range(data.draw(st.integers(1, 3))):
        place = document
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
                place[key] = data.draw(VALUES)
                break
            place = place[key]
    raw = json.dumps(document).encode()
    with suppress(BundleError):
        check_layout(parse_contents(raw), LIST_BYTES)
