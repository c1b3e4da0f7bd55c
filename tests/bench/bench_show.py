"""Frames of a generator as a video in a cell: vidnb.show, mediapy.show_video, matplotlib's HTML5.

    pip install -e '.[media]' mediapy matplotlib        # the last two need ffmpeg on the PATH
    PYTHONPATH=. python tests/bench/bench_show.py [--rounds 3] [--frames 300] [--many 3000]

Each run is a new process: it shows frames of 720p from a generator and prints the time until the
first picture can be played (for vidnb its first segment, for the others the whole output), the time
until all is encoded, the CPU time, the peak memory of the process and the ffmpeg it starts, and the
bytes that the cell's output puts into the notebook. The peers take turns in every round; the median
is shown. `--many` is a second number of frames, for the memory alone. mediapy is given a list, as
it accepts no generator.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

HEIGHT, WIDTH = 720, 1280


def frames(count: int) -> Iterator[Any]:
    """Yield frames of moving waves and a moving box, RGB of 8 bits."""
    import numpy as np

    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    base = (128 + 60 * np.sin(x / 90) + 60 * np.cos(y / 70)).astype(np.uint8)
    for number in range(count):
        frame = np.stack([np.roll(base, 4 * number, 1), base, np.roll(base, -2 * number, 0)], 2)
        at = 7 * number % (WIDTH - 80)
        frame[300:380, at : at + 80] = (number % 256, 255 - number % 256, 128)
        yield frame


def show_vidnb(count: int) -> tuple[float, int]:
    """Show by vidnb; the notebook's bytes are the card and the widget's reference."""
    import vidnb

    player = vidnb.show(frames(count))
    started_s = time.perf_counter()
    assert player.encoding is not None
    while not player.deliveries:
        time.sleep(0.002)
    first_s = time.perf_counter() - started_s
    player.encoding.result()
    mime = player._repr_mimebundle_()
    size_bytes = len(json.dumps(mime, default=str))
    player.close()
    return first_s, size_bytes


def show_mediapy(count: int) -> tuple[float, int]:
    """Show by mediapy."""
    import mediapy

    started_s = time.perf_counter()
    html = mediapy.show_video(list(frames(count)), fps=30, return_html=True)
    return time.perf_counter() - started_s, len(html or "")


def show_matplotlib(count: int) -> tuple[float, int]:
    """Show by matplotlib's animation at the same size."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["animation.embed_limit"] = 1000
    from matplotlib import pyplot as plt
    from matplotlib.animation import FuncAnimation

    started_s = time.perf_counter()
    figure = plt.figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    source = frames(count)
    image = axes.imshow(next(source))

    def draw(frame: Any) -> tuple[Any]:
        image.set_data(frame)
        return (image,)

    animation = FuncAnimation(
        figure,
        draw,
        frames=source,
        save_count=count,
        interval=1000 / 30,
        init_func=lambda: (image,),
    )
    html = animation.to_html5_video(embed_limit=1000)
    return time.perf_counter() - started_s, len(html)


SHOWS: dict[str, Callable[[int], tuple[float, int]]] = {
    "vidnb.show": show_vidnb,
    "mediapy.show_video": show_mediapy,
    "matplotlib HTML5": show_matplotlib,
}


def run(name: str, count: int) -> None:
    """Show frames by one peer and print the numbers."""
    started_s = time.perf_counter()
    first_s, size_bytes = SHOWS[name](count)
    own, child = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        json.dumps(
            {
                "first_s": first_s,
                "whole_s": time.perf_counter() - started_s,
                "cpu_s": own.ru_utime + own.ru_stime + child.ru_utime + child.ru_stime,
                "peak_mb": own.ru_maxrss / 1024,
                "child_mb": child.ru_maxrss / 1024,
                "notebook_bytes": size_bytes,
            }
        )
    )


def measured(name: str, count: int) -> dict[str, float]:
    """Return the numbers of a new process; empty where the peer cannot run."""
    command = [sys.executable, __file__, "--run", name, "--frames", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}, {count} frames: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run all peers in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--many", type=int, default=3000)
    parser.add_argument("--run", choices=SHOWS)
    options = parser.parse_args()
    if options.run:
        run(options.run, options.frames)
        return
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in SHOWS}
    for _ in range(options.rounds):
        for name, found in rows.items():
            found.append(measured(name, options.frames))
    many = {name: measured(name, options.many) for name in SHOWS} if options.many else {}
    print(
        f"| {options.frames} frames of 720p | first picture (s) | complete (s) | CPU (s)"
        f" | peak (MB) + ffmpeg | with {options.many} frames | in the notebook (B) |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, found in rows.items():
        kept = [one for one in found if one]
        if not kept:
            print(f"| {name} | could not run |")
            continue
        mid = {key: statistics.median(one[key] for one in kept) for key in kept[0]}
        large = many.get(name)
        more = f"{large['peak_mb']:.0f} + {large['child_mb']:.0f}" if large else "not run"
        print(
            f"| {name} | {mid['first_s']:.2f} | {mid['whole_s']:.2f} | {mid['cpu_s']:.1f}"
            f" | {mid['peak_mb']:.0f} + {mid['child_mb']:.0f} | {more}"
            f" | {mid['notebook_bytes']:,.0f} |"
        )


if __name__ == "__main__":
    main()
