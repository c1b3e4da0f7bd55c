"""Segments made while a video plays: faster than it is watched, and beside ffmpeg's own.

    pip install -e '.[test]'
    PYTHONPATH=. python tests/bench/bench_segments.py [--rounds 3] [--seconds 16]

Each clip is 1080p at 30 frames a second, made by ffmpeg from a moving test picture with noise. A
run is a new process: vidnb makes every segment in order; ffmpeg writes the same as HLS with the
same encoder, preset and quality in one pass. `x real time` is the length of the video by the time
that took, `first` the time until the first segment (s), imports included.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLIPS = {
    # name: codec, variant of vidnb, video options of ffmpeg
    "hevc.mp4": (
        "-c:v libx265 -preset ultrafast -x265-params log-level=none -tag:v hvc1 -c:a aac",
        "h264.aac",
    ),
    "hevc-10-bit.mkv": (
        "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=none -c:a ac3",
        "h264.aac",
    ),
    "prores.mov": ("-c:v prores_ks -profile:v 0 -c:a pcm_s16le", "h264.aac"),
    "mpeg2-interlaced.mpg": (
        "-c:v mpeg2video -q:v 4 -maxrate 30M -bufsize 8M -flags +ildct+ilme -c:a mp2",
        "h264.aac",
    ),
    "h264.mkv": ("-c:v libx264 -preset veryfast -g 60 -c:a aac", "copy.copy"),
}
_TRANSCODE = "-c:v libx264 -preset superfast -crf 21 -bf 0 -pix_fmt yuv420p -g 60 -c:a aac"


def make(folder: Path, name: str, seconds: int) -> Path:
    """Make a clip."""
    options, _ = CLIPS[name]
    path = folder / name
    picture = f"testsrc2=s=1920x1080:r=30:d={seconds},noise=alls=3:allf=t"
    sound = f"sine=r=48000:d={seconds}"
    sources = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    command = ["ffmpeg", "-v", "fatal", "-y", *sources, "-pix_fmt", "yuv420p", *options.split()]
    subprocess.run([*command, str(path)], check=True)
    return path


def run_vidnb(path: str, variant: str) -> dict[str, float]:
    """Make every segment of a file."""
    started_s = time.perf_counter()
    from vidnb.media.segments import SegmentMaker

    with SegmentMaker(path, variant) as maker:
        maker.init()
        maker.segment(0)
        first_s = time.perf_counter() - started_s
        for number in range(1, len(maker.playlist)):
            maker.segment(number)
        length_s = float(sum(maker.playlist.durations))
    elapsed_s = time.perf_counter() - started_s
    return {"first_s": first_s, "factor": length_s / elapsed_s, "elapsed_s": elapsed_s}


def run_ffmpeg(path: str, variant: str, length_s: float) -> dict[str, float]:
    """Write the same as HLS with the ffmpeg program."""
    started_s = time.perf_counter()
    options = "-c copy" if variant == "copy.copy" else _TRANSCODE
    if "interlaced" in path:
        options = f"-vf bwdif=mode=send_frame {options}"
    with tempfile.TemporaryDirectory() as folder:
        hls = ["-f", "hls", "-hls_segment_type", "fmp4", "-hls_list_size", "0"]
        command = ["ffmpeg", "-v", "fatal", "-i", path, *options.split(), *hls]
        subprocess.run([*command, f"{folder}/index.m3u8"], check=True)
    elapsed_s = time.perf_counter() - started_s
    return {"factor": length_s / elapsed_s, "elapsed_s": elapsed_s}


def measured(path: str, variant: str) -> dict[str, float]:
    """Run vidnb in a process of its own; add its processor time (s) and peak memory (MiB)."""
    command = [sys.executable, __file__, "--one", path, variant]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=16)
    parser.add_argument("--one", nargs=2, metavar=("PATH", "VARIANT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        found = run_vidnb(*arguments.one)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        found["cpu_s"] = usage.ru_utime + usage.ru_stime
        found["peak_mib"] = usage.ru_maxrss / 1024
        print(json.dumps(found))
        return
    print("| 1080p30 clip | first (s) | x real time | ffmpeg | time by ffmpeg's | peak (MiB) |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (_, variant) in CLIPS.items():
            path = str(make(Path(folder), name, arguments.seconds))
            own, other = [], []
            for _ in range(arguments.rounds):
                own.append(measured(path, variant))
                other.append(run_ffmpeg(path, variant, arguments.seconds))

            def median(rows: list[dict[str, float]], key: str) -> float:
                return statistics.median(row[key] for row in rows)

            ratio = median(own, "elapsed_s") / median(other, "elapsed_s")
            print(
                f"| {name} | {median(own, 'first_s'):.2f} | {median(own, 'factor'):.1f}"
                f" | {median(other, 'factor'):.1f} | {ratio:.2f} | {median(own, 'peak_mib'):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
