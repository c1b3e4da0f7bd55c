"""File name extensions and media types: the one table that naming and the server share.

The system's own table (`mimetypes`) differs from machine to machine and knows neither `.mkv` nor
`.m4v` nor `.ts` on many of them, so vidnb carries its own. It holds media only: a page is never
named, and never served, as one.
"""

__all__ = ["OCTET_STREAM", "extension_of", "media_type_of"]

OCTET_STREAM = "application/octet-stream"
"""The type of bytes nobody has named (RFC 2046 4.5.1)."""

_TYPES = {
    # The first extension of a type is the one a new file gets.
    ".mp4": "video/mp4",  # RFC 4337
    ".m4v": "video/mp4",  # as browsers map it; `video/x-m4v` is an alias below
    ".m4s": "video/iso.segment",
    ".mov": "video/quicktime",
    ".qt": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",  # what the world sends; RFC 9559 registers `video/matroska`
    ".mk3d": "video/x-matroska",
    ".ts": "video/mp2t",  # RFC 3555
    ".m2ts": "video/mp2t",
    ".mts": "video/mp2t",
    ".ogv": "video/ogg",  # RFC 5334
    ".avi": "video/x-msvideo",
    ".mpg": "video/mpeg",  # RFC 2046
    ".mpeg": "video/mpeg",
    ".m2v": "video/mpeg",
    ".flv": "video/x-flv",
    ".wmv": "video/x-ms-wmv",
    ".asf": "video/x-ms-asf",
    ".3gp": "video/3gpp",  # RFC 3839
    ".3g2": "video/3gpp2",  # RFC 4393
    ".m3u8": "application/vnd.apple.mpegurl",  # RFC 8216
    ".mpd": "application/dash+xml",
    ".vtt": "text/vtt",
    ".srt": "application/x-subrip",
    ".mp3": "audio/mpeg",  # RFC 3003
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",  # RFC 7845 section 9
    ".flac": "audio/flac",
    ".weba": "audio/webm",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
}

_ALIASES = {
    "application/mp4": "video/mp4",
    "application/x-mpegurl": "application/vnd.apple.mpegurl",
    "audio/mp3": "audio/mpeg",
    "audio/mpegurl": "application/vnd.apple.mpegurl",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-mpegurl": "application/vnd.apple.mpegurl",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
    "video/avi": "video/x-msvideo",
    "video/flv": "video/x-flv",
    "video/matroska": "video/x-matroska",
    "video/mpeg4": "video/mp4",
    "video/msvideo": "video/x-msvideo",
    "video/vnd.avi": "video/x-msvideo",
    "video/x-mp4": "video/mp4",
}

_EXTENSIONS = {media_type: extension for extension, media_type in reversed(_TYPES.items())}
_EXTENSIONS |= {alias: _EXTENSIONS[media_type] for alias, media_type in _ALIASES.items()}
_EXTENSIONS["video/x-m4v"] = ".m4v"


def media_type_of(name: str) -> str:
    """Return the media type a file name's extension stands for, `OCTET_STREAM` where none does.

    `name` is a file name or a path; only what follows its last dot counts, in either case.
    """
    _, dot, extension = name.rpartition(".")
    return _TYPES.get((dot + extension).lower(), OCTET_STREAM)


def extension_of(media_type: str) -> str | None:
    """Return the extension (`.mp4`) a file of this media type gets, None for a type not known.

    Case, parameters (`; codecs=…`) and the common unregistered spellings do not matter
    (RFC 9110 8.3.1).
    """
    return _EXTENSIONS.get(media_type.partition(";")[0].strip().lower())
