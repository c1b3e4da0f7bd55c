"""The commands on media files: `vidnb probe`, `sheet`, `clip` and `convert`.

Each returns the text for standard output, and the end of the sentence where that cannot be written.
"""

import argparse
import json
from typing import TYPE_CHECKING, Any, Final

from vidnb.io.standard_streams import write_error_line

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MEDIA_COMMANDS", "add_media_commands"]

_Output = tuple[str, str]


def add_media_commands(commands: Any) -> None:
    """Add the parsers of the commands; `commands` are the subparsers of `argparse`."""
    probe = commands.add_parser(
        "probe",
        help="print the facts of a video file or URL, and what is wrong with it",
        epilog="example: vidnb probe film.mp4 --json",
    )
    probe.add_argument("source", metavar="FILE")
    probe.add_argument("--deep", action="store_true", help="decode everything to find damage")
    probe.add_argument("--json", action="store_true", help="print JSON for programs")
    sheet = commands.add_parser(
        "sheet",
        help="save a contact sheet: frames of a video with their time codes",
        epilog="example: vidnb sheet film.mp4 -n 40 -o sheet.png",
    )
    sheet.add_argument("source", metavar="FILE")
    sheet.add_argument("-o", "--output", metavar="OUT", help="default: FILE-sheet.jpg, here")
    sheet.add_argument("-n", type=int, default=24, help="the number of frames (default: 24)")
    sheet.add_argument("--every-s", type=float, metavar="S", help="one frame every S seconds")
    sheet.add_argument(
        "--columns", type=int, metavar="N", help="default: by the shape of the video"
    )
    sheet.add_argument("--width", type=int, default=1200, help="in pixels (default: 1200)")
    sheet.add_argument("--dark", action="store_true", help="light text on a dark ground")
    clip = commands.add_parser(
        "clip",
        help="save a part of a video as a file of its own",
        epilog="example: vidnb clip --exact film.mp4 1:02.5 1:10 scene.mp4",
    )
    clip.add_argument("source", metavar="FILE", help="a file or a URL")
    clip.add_argument("start", metavar="START", help="seconds (62.5) or minutes (1:02.5)")
    clip.add_argument("end", metavar="END", help="likewise; the frame at this time is left out")
    clip.add_argument("path", metavar="OUT", nargs="?", help="default: beside FILE, with the times")
    clip.add_argument(
        "--exact",
        action="store_true",
        help="exactly these frames, some encoded again (default: copy from the key frame before)",
    )
    convert = commands.add_parser(
        "convert",
        help="convert a video to .mp4, .webm, .gif or .webp",
        epilog="example: vidnb convert --width 480 film.mov film.gif",
    )
    convert.add_argument("source", metavar="FILE", help="a file or a URL")
    convert.add_argument("path", metavar="OUT", help="its suffix chooses the format")
    convert.add_argument("--width", type=int, help="pixels (default: as in FILE)")
    convert.add_argument("--fps", type=float, help="frames a second (default: as in FILE)")
    convert.add_argument(
        "--keyframe-s",
        type=float,
        default=1.0,
        metavar="S",
        help="the longest time between key frames (default: 1 s)",
    )
    for one in (clip, convert):
        one.add_argument("--quiet", action="store_true", help="no progress bar")


def _probe(arguments: argparse.Namespace) -> _Output:
    from vidnb.media.probe import probe

    info = probe(arguments.source, deep=arguments.deep)
    text = json.dumps(info.to_dict(), indent=2) if arguments.json else str(info)
    return f"{text}\n", ""


def _sheet(arguments: argparse.Namespace) -> _Output:
    from vidnb.media.sheet import default_name, sheet

    made = sheet(
        arguments.source,
        arguments.n,
        every_s=arguments.every_s,
        columns=arguments.columns,
        width=arguments.width,
        dark=arguments.dark,
    )
    path = made.save(arguments.output or default_name(arguments.source))
    return f"{path}\n", f"; {path} is complete"


def _clip(arguments: argparse.Namespace) -> _Output:
    from vidnb.media.clip import clip
    from vidnb.media.cut_plan import parse_time

    result = clip(
        arguments.source,
        parse_time(arguments.start),
        parse_time(arguments.end),
        arguments.path,
        mode="exact" if arguments.exact else "copy",
        progress=not arguments.quiet,
    )
    write_error_line(result.describe())
    return f"{result.path}\n", f"; {result.path} is complete"


def _convert(arguments: argparse.Namespace) -> _Output:
    from vidnb.media.convert import convert

    result = convert(
        arguments.source,
        arguments.path,
        width=arguments.width,
        fps=arguments.fps,
        keyframe_s=arguments.keyframe_s,
        progress=not arguments.quiet,
    )
    return f"{result.path}\n", f"; {result.path} is complete"


MEDIA_COMMANDS: "Final[dict[str, Callable[[argparse.Namespace], _Output]]]" = {
    "probe": _probe,
    "sheet": _sheet,
    "clip": _clip,
    "convert": _convert,
}
