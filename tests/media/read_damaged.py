"""Read damaged files in a process of its own: `python -m tests.media.read_damaged SEED COUNT FILE…`

A crash or a hang of FFmpeg ends this process, and the memory is limited. For each seed the header
of one of the files is changed; then the file is probed and read, and asked for the ways to play it.
The last line on standard output names the seed that was being read; a fault of vidnb (any error but
a `VidnbError`) is a traceback.
"""

import io
import random
import resource
import signal
import sys
from pathlib import Path

import vidnb
from tests.deadline import SLOWNESS
from vidnb.media.playback import read_playback

MEMORY_BYTES = 4 * 2**30
"""Of address space, which the stacks of decoder threads use, too."""
SECONDS = round(60 * SLOWNESS)
_HEADER_BYTES = 2048


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Return a file with 1 to 8 changes, most of them in its header or its index."""
    changed = bytearray(data)
    index = max(0, data.rfind(b"moov"), data.rfind(b"idx1"))  # at the end of some containers
    for _ in range(dice.randint(1, 8)):
        start = dice.choice([0, 0, 0, index, dice.randrange(len(data))])
        at = start + dice.randrange(max(1, min(_HEADER_BYTES, len(changed) - start - 8)))
        match dice.randrange(6):
            case 0:
                changed[at] ^= 1 << dice.randrange(8)
            case 1:
                changed[at] = dice.randrange(256)
            case 2:
                changed[at : at + 4] = dice.choice([bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff"])
            case 3:
                del changed[at : at + dice.randint(1, 16)]
            case 4:
                changed[at:at] = dice.randbytes(dice.randint(1, 16))
            case 5:
                length = dice.randint(1, 64)
                changed[at : at + length] = changed[index : index + length]
    if not dice.randrange(10):
        del changed[dice.randrange(len(changed)) :]
    return bytes(changed)


def read(data: bytes) -> None:
    """Probe a file and read some of its frames; errors of vidnb are expected."""
    for deep in (False, True):
        try:
            info = vidnb.probe(io.BytesIO(data), deep=deep)
            str(info), info._repr_html_(), info.to_dict()
        except vidnb.VidnbError as error:
            assert str(error).count("\n") == 0, error  # noqa: PT017 - any of them may come
    playback = read_playback(io.BytesIO(data))
    assert playback.deliveries
    assert "\n" not in playback.problem
    try:
        with vidnb.frames(io.BytesIO(data)) as frames:
            for index in {0, len(frames) // 2, len(frames) - 1}:
                try:
                    assert frames[index].index == index
                except vidnb.VidnbError:
                    continue
    except vidnb.VidnbError:
        pass


def main() -> None:
    """Read as many mutated files as the arguments say."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    first, count, *names = sys.argv[1:]
    files = [Path(name).read_bytes() for name in names]
    for seed in range(int(first), int(first) + int(count)):
        print(seed, flush=True)
        signal.alarm(SECONDS)  # its default action ends the process, also within FFmpeg
        read(mutated(files[seed % len(files)], random.Random(seed)))
    signal.alarm(0)
    print("done", flush=True)


if __name__ == "__main__":
    main()
