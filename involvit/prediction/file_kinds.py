"""What a file is: an image, a video, a shard of many images, or none. Its content decides; where that says nothing, its
name."""

from __future__ import annotations

import errno
import re
import stat
import tarfile
from contextlib import suppress
from io import BufferedReader
from pathlib import Path, PurePath
from typing import BinaryIO

from PIL import Image

from ..files import IMAGE_FORMATS, LFS_ADVICE, is_lfs_pointer, is_parquet_start
from ..tars import DECOMPRESSORS, naming_tar_damage

HEAD_BYTES = 4096  # what a reader of the first bytes gets
EMPTY = "is empty (0 bytes); replace or remove it"

# Photos of phones that Pillow cannot read are found all the same: an error is better than an image left out in silence.
IMAGE_SUFFIXES = {suffix for suffix, name in Image.registered_extensions().items() if name in IMAGE_FORMATS}
IMAGE_SUFFIXES |= {".heic", ".heif", ".jxl"}
RAW_SUFFIXES = {
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".gpr", ".iiq", ".kdc", ".mef", ".mos", ".mrw"),
    *(".nef", ".nrw", ".orf", ".pef", ".ptx", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
}
VIDEO_SUFFIXES = {".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv"}
MJPEG_SUFFIXES = {".mjpeg", ".mjpg"}  # JPEG images in a row, as many cameras write: the name alone tells that from one
AUDIO_SUFFIXES = {".m4a", ".mka", ".weba", ".wma"}  # begin as videos do
SHARD_SUFFIXES = (".parquet", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
TIFF_SUFFIXES = {".tif", ".tiff", ""}  # raw photos of cameras begin so too, and what Pillow sees in them is a preview

# FFmpeg goes by content too, but what it takes for a video can be a text that names other files on the disk (ffconcat,
# HLS playlists), such as those of other users of the app.
_VIDEO = re.compile(
    rb"\0.{3}ftyp(?!avi[fs]|hei|hev|mif1|msf1|crx |M4[ABP] )"  # MP4, MOV, 3GP; not AVIF, HEIC, raw photos, audio books
    rb"|\0.{3}(moov|wide|free|skip|uuid|styp|pnot)|.{4}mdat"  # older MOV, parts of streams
    rb"|\x1aE\xdf\xa3"  # MKV, WebM
    rb"|RIFF.{4}AVI "
    rb"|\0\0\x01[\xb3\xba]"  # MPEG, VOB
    rb"|.{0,191}?(G..[\x10-\x3f].{184}){4}G"  # MPEG transport streams: TS
    rb"|.{0,195}?(G..[\x10-\x3f].{188}){4}G"  # and M2TS, MTS
    rb"|0&\xb2u"  # WMV
    rb"|FLV\x01"
    rb"|OggS.*(\x80theora|OVP80|BBCD\0)"  # OGV; other Ogg files are audio
    rb"|\x06\x0e\+4\x02\x05\x01\x01\r\x01\x02"  # MXF
    rb"|\0\0\0\x01[\x06\x09\x27\x47\x67\x40]"  # H.264 and H.265 as some cameras write them, in no container
    rb"|YUV4MPEG2 ",
    re.DOTALL,
)
_IMAGE = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|RIFF.{4}WEBP"
    rb"|GIF8[79]a"
    rb"|BM.{12}[\x0c(48@l|]\0\0\0"
    rb"|P[1-6fF]\s+(#[^\n]*\n\s*)*\d+\s+\d"  # PPM
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xffO\xffQ"  # JPEG 2000
    rb"|.{4}ftyp(avi[fs]|hei|hev|mif1|msf1)"  # AVIF, HEIC
    rb"|\0\0\0\x0cJXL \r\n\x87\n",
    re.DOTALL,
)
_TIFF = re.compile(rb"II[*+]\0|MM\0[*+]")
_RAW = re.compile(  # of cameras whose raw photos do not begin as TIFF files
    rb"FUJIFILMCCD-RAW|FOVb|\0MRM|IIU\0|IIR[OS]|MMOR|II\x1a\0\0\0HEAPCCDR|.{4}ftypcrx ", re.DOTALL
)
_ARCHIVE = re.compile(rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07")
# Documents are zip files too, and much is packed by zstd: here the name decides.
_ARCHIVE_NAME = re.compile(
    r"\.((zip|7z)(\.\d+)?|z\d\d|cb[rz7]|rar|r\d\d|iso|tzst|tar\.(zst|lz4|lz|lzma|lzo|br|z))$", re.IGNORECASE
)


def open_regular(path: str | Path) -> BinaryIO:
    """Opens a file to read its bytes; a pipe or a device, which may have none to give for ever, is refused.

    Raises:
        OSError: If it is not a regular file, stands in for one in Git LFS, or cannot be opened.
    """
    file = _opened(path)
    if is_lfs_pointer(file.peek(64)):
        file.close()
        raise OSError(errno.EINVAL, f"it {LFS_ADVICE}", str(path))
    return file


def _opened(path: str | Path) -> BufferedReader:
    if not stat.S_ISREG(mode := Path(path).stat().st_mode):
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return Path(path).open("rb")


def first_bytes(path: str | Path) -> bytes:
    """Returns the first bytes of a file; none of one that cannot be read."""
    try:
        with _opened(path) as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def begins_as_image(head: bytes, suffix: str) -> bool:
    """Returns whether a file that begins so is an image; its suffix tells a TIFF file from a raw photo, and a JPEG one
    from a video of such."""
    if begins_as_video(head, suffix):
        return False
    is_tiff = _TIFF.match(head) and suffix.lower() in TIFF_SUFFIXES
    return bool(is_tiff) or _IMAGE.match(head) is not None


def begins_as_video(head: bytes, suffix: str) -> bool:
    """Returns whether a file that begins so is a video; its suffix tells one of JPEG images from a single one."""
    is_mjpeg = suffix.lower() in MJPEG_SUFFIXES and head.startswith(b"\xff\xd8\xff")
    return is_mjpeg or _VIDEO.match(head) is not None


def why_unread(path: str | PurePath, head: bytes) -> str | None:
    """Returns what a file is that may hold images, but is not read, and what to do; None if it is none such.

    Args:
        path: Of a file that is no shard.
        head: How it begins.
    """
    name, suffix = PurePath(path).name, PurePath(path).suffix.lower()
    if begins_as_image(head, suffix) or suffix in IMAGE_SUFFIXES:
        return None
    if suffix in RAW_SUFFIXES or _RAW.match(head) or _TIFF.match(head):
        return "is a raw photo; convert it to JPEG or PNG"
    if _ARCHIVE.match(head) or _ARCHIVE_NAME.search(name) or (not suffix and head.startswith(b"PK\3\4")):
        return "is an archive; unpack it, and name the folder"
    return None


def _is_tar(path: str | PurePath, head: bytes) -> bool:
    """Returns whether the content of a file that begins so is a tar, compressed or not."""
    for magic, decompress in DECOMPRESSORS.items():
        if head.startswith(magic):
            with suppress(OSError, tarfile.ReadError), naming_tar_damage(), open_regular(path) as file:
                head = decompress(file).read(512)
    return head[257:262] == b"ustar"


def is_video(path: str | PurePath) -> bool:
    """Returns whether a file is to be read as a video: by its content, or by its name if it is no image either."""
    head, suffix = first_bytes(path), PurePath(path).suffix.lower()
    return begins_as_video(head, suffix) or (suffix in VIDEO_SUFFIXES and not begins_as_image(head, ".tif"))


def is_parquet(path: str | PurePath) -> bool:
    """Returns whether a shard is Parquet; else it is a tar."""
    head = first_bytes(path)
    return is_parquet_start(head) or (PurePath(path).suffix.lower() == ".parquet" and not _is_tar(path, head))


def is_shard(path: str | PurePath) -> bool:
    """Returns whether a file holds many images, as Parquet and tars do, by its content or else by its name.

    One with the name of an image or a video is none, and is not opened to see: there may be a million of them.
    """
    if PurePath(path).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        return False
    head = first_bytes(path)
    if is_parquet_start(head) or _is_tar(path, head):
        return True
    is_named_so = PurePath(path).name.lower().endswith(SHARD_SUFFIXES)
    return is_named_so and not begins_as_image(head, ".tif") and not begins_as_video(head, "")


def is_image_or_video(path: str | PurePath) -> bool:
    """Returns whether a file in a folder is an image or a video, by its name or else by its content.

    One with a name of these that is damaged is one as well, so that its reader says so. Pipes and devices are none.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    with suppress(OSError):  # such as a link that leads nowhere
        if not stat.S_ISREG(path.stat().st_mode):
            return False
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        return True
    head = first_bytes(path)
    return begins_as_image(head, suffix) or (begins_as_video(head, suffix) and suffix not in AUDIO_SUFFIXES)
