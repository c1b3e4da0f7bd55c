"""The table of file name extensions and media types, used for file names and by the server.

The system's table (`mimetypes`) differs between machines and often lacks `.mkv`, `.m4v` and `.ts`.
This one has media only, so that vidnb never names or serves a file as a page.
"""

__all__ = ["OCTET_STREAM", "extension_of", "media_type_of"]

OCTET_STREAM = "application/octet-stream"
"""The type of unknown data (RFC 2046 section 4.5.1)."""

_TYPES = {
    # A new file gets the first extension of its type.
    ".mp4": "video/mp4",  # RFC 4337
    ".m4v": "video/mp4",  # as browsers map it; `video/x-m4v` is an alias below
    ".m4s": "video/iso.segment",
    ".mov": "video/quicktime",
    ".qt": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",  # in common use; RFC 9559 registers `video/matroska`
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
    """Return the media type of a file name's extension, `OCTET_STREAM` for an unknown one.

    `name` is a file name or a path; the extension follows its last dot, in either case.
    """
    _, dot, extension = name.rpartition(".")
    return _TYPES.get((dot + extension).lower(), OCTET_STREAM)


def extension_of(media_type: str) -> str | None:
    """Return the extension (`.mp4`) for a media type, None for an unknown type.

    Case and parameters (`; codecs=…`) are ignored (RFC 9110 section 8.3.1), and common unregistered
    spellings are known.
    """
    return _EXTENSIONS.get(media_type.partition(";")[0].strip().lower())
