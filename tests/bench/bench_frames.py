"""Frames of one file: time, CPU time and peak memory of vidnb and its peers, and their errors.

    pip install -e '.[test]' opencv-python-headless decord torchcodec
    PYTHONPATH=. python tests/bench/bench_frames.py [--rounds 5] [--frames 1500]

Workloads: every frame in order; 1000 random frames in increasing order; 100 random frames in random
order. Each run is a new process; the peers take turns in every round. The film is made by ffmpeg:
1080p H.264 with B-frames, a key frame every 60 frames. PyAV and OpenCV reach a frame by a seek
each, so they take no part in the sorted workload. A peer that is not installed is named in the
table. For the errors every peer reads each frame of short clips whose frames show their number
(tests/clips.py).
"""

import argparse
import importlib.util
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

PEERS = {
    "vidnb": "vidnb",
    "PyAV": "av",
    "OpenCV": "cv2",
    "decord": "decord",
    "torchcodec": "torchcodec",
}
ERROR_CLIPS = (
    "h264.mp4",
    "h264-variable.mp4",
    "h264-open-gop.mp4",
    "h264-edit-list.mp4",
    "h264.ts",
    "mpeg4.avi",
    "vp9.webm",
)


def read_vidnb(path: str, indices: Sequence[int] | None) -> Iterator[Any]:
    """Yield the frames of vidnb."""
    import vidnb

    frames = vidnb.frames(path)
    for index in range(len(frames)) if indices is None else indices:
        yield frames[index].image


def read_pyav(path: str, indices: Sequence[int] | None) -> Iterator[Any]:
    """Yield the frames of PyAV: in order by decoding, otherwise by a seek to `index / rate`."""
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if indices is None:
            for frame in container.decode(stream):
                yield frame.to_ndarray(format="rgb24")
            return
        rate, base = stream.average_rate, stream.time_base
        assert rate is not None
        assert base is not None
        for index in indices:
            target = round(index / rate / base)
            container.seek(target, stream=stream)
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts >= target:
                    yield frame.to_ndarray(format="rgb24")
                    break


def read_opencv(path: str, indices: Sequence[int] | None) -> Iterator[Any]:
    """Yield the frames of OpenCV, by `CAP_PROP_POS_FRAMES`."""
    import cv2

    capture = cv2.VideoCapture(path)
    if indices is None:
        while True:
            is_read, image = capture.read()
            if not is_read:
                return
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    for index in indices:
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        is_read, image = capture.read()
        yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if is_read else None


def read_decord(path: str, indices: Sequence[int] | None) -> Iterator[Any]:
    """Yield the frames of decord."""
    import decord

    reader = decord.VideoReader(path)
    for index in range(len(reader)) if indices is None else indices:
        yield reader[index].asnumpy()


def read_torchcodec(path: str, indices: Sequence[int] | None) -> Iterator[Any]:
    """Yield the frames of torchcodec in its approximate mode."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(path, seek_mode="approximate")
    for index in range(len(decoder)) if indices is None else indices:
        yield decoder[index].permute(1, 2, 0).numpy()


READERS: dict[str, Callable[[str, Sequence[int] | None], Iterator[Any]]] = {
    "vidnb": read_vidnb,
    "PyAV": read_pyav,
    "OpenCV": read_opencv,
    "decord": read_decord,
    "torchcodec": read_torchcodec,
}


def run_once(peer: str, path: str, indices: Sequence[int] | None) -> dict[str, float]:
    """Read the frames in this process and return what it cost."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    count = sum(1 for _ in READERS[peer](path, indices))
    return {
        "count": count,
        "elapsed_s": time.perf_counter() - start_s,
        "cpu_s": time.process_time() - start_cpu_s,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_new_process(peer: str, path: Path, indices: Sequence[int] | None) -> dict[str, float]:
    """Run `run_once` in a new process."""
    job = json.dumps([peer, str(path), indices])
    command = [sys.executable, __file__, "--job", "-"]
    done = subprocess.run(command, input=job, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def make_film(folder: Path, frames: int) -> Path:
    """Return a 1080p film of so many frames (H.264 with B-frames)."""
    path = folder / "film.mp4"
    source = f"testsrc2=s=1920x1080:r=30:d={frames / 30}"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264"]
    command += ["-preset", "veryfast", "-bf", "3", "-g", "60", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True)
    return path


def wrong_frames(peer: str, name: str) -> str:
    """Return how many frames of a clip a peer reads wrongly by number."""
    from tests.clips import clip, shown_number

    truth = [shown_number(image) for image in read_vidnb(str(clip(name)), None)]
    indices = random.Random(1).sample(range(len(truth)), len(truth))
    try:
        images = list(READERS[peer](str(clip(name)), indices))
    except Exception as error:  # noqa: BLE001 - any failure of a peer is a result
        return f"failed ({type(error).__name__})"
    wrong = len(truth) - len(images)
    for index, image in zip(indices, images, strict=False):
        wrong += image is None or shown_number(image) != truth[index]
    return f"{wrong} of {len(truth)}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=1500)
    parser.add_argument("--job")
    arguments = parser.parse_args()
    if arguments.job:
        peer, path, indices = json.load(sys.stdin)
        print(json.dumps(run_once(peer, path, indices)))
        return
    peers = [peer for peer, module in PEERS.items() if importlib.util.find_spec(module)]
    for peer in PEERS.keys() - set(peers):
        print(f"{peer} is not installed")
    with tempfile.TemporaryDirectory(prefix="vidnb-bench-") as folder:
        film = make_film(Path(folder), arguments.frames)
        rng = random.Random(7)
        workloads: dict[str, list[int] | None] = {
            "in order": None,
            "1000 sorted": sorted(rng.choices(range(arguments.frames), k=1000)),
            "100 random": rng.choices(range(arguments.frames), k=100),
        }
        for name, indices in workloads.items():
            out = {"PyAV", "OpenCV"} if name == "1000 sorted" else set()
            taking = [peer for peer in peers if peer not in out]
            results: dict[str, list[dict[str, float]]] = {peer: [] for peer in taking}
            for number in range(arguments.rounds):
                for peer in taking[number % len(taking) :] + taking[: number % len(taking)]:
                    results[peer].append(in_new_process(peer, film, indices))
            print(f"\n{name}: median s, CPU s, peak MiB, vidnb / peer (median, best)")
            ours = [one["elapsed_s"] for one in results["vidnb"]]
            for peer, runs in results.items():
                times = [one["elapsed_s"] for one in runs]
                ratio = statistics.median(ours) / statistics.median(times)
                print(
                    f"  {peer:11} {statistics.median(times):7.2f}"
                    f" {statistics.median(one['cpu_s'] for one in runs):7.2f}"
                    f" {max(one['peak_mib'] for one in runs):6.0f}"
                    f"   {ratio:.2f}, {min(ours) / min(times):.2f}"
                )
    print("\nwrong frames, read by number in random order")
    for clip_name in ERROR_CLIPS:
        print(f"  {clip_name:20}", {peer: wrong_frames(peer, clip_name) for peer in peers})


if __name__ == "__main__":
    main()
