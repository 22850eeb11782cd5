"""A mapping of names to texts, in the forms in which media files carry it.

Names are XML names (letters, digits, `_`, `-`). MP4 takes ffmpeg's metadata file and an XMP box,
GIF one comment, WebP an XMP chunk, PNG text chunks and XMP. Those of the names that XMP has a
place for stand there too: `digital_source_type` is IPTC's mark of how a picture came about.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

_NAMESPACES = {
    "artv": "urn:artv:metadata",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_STANDARD = {
    "title": "dc:title",
    "software": "xmp:CreatorTool",
    "digital_source_type": "Iptc4xmpExt:DigitalSourceType",
}
# What XML 1.0 cannot hold, and what would end a text for ffmpeg.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # XMP specification, part 3


def tidied(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return `metadata` without empty texts and without characters that no container can hold."""
    texts = {name: _FORBIDDEN.sub("", text) for name, text in metadata.items()}
    return {name: text for name, text in texts.items() if text}


def ffmetadata(metadata: Mapping[str, str]) -> str:
    """Return the file that ffmpeg reads with `-f ffmetadata` (arguments could grow too long)."""
    lines = [
        f"{_escaped(name)}={_escaped(text)}".replace("\n", "\\\n")
        for name, text in metadata.items()
    ]
    return "\n".join([";FFMETADATA1", *lines, ""])


def parse_ffmetadata(text: str) -> dict[str, str]:
    """Return the texts that hold for the whole file, from what ffmpeg wrote."""
    found = {}
    for line in re.findall(r"(?:\\.|[^\\\n])+", text, re.DOTALL):
        if line.startswith("["):  # sections follow: streams, chapters
            break
        name, _, value = line.partition("=")
        if value:
            found[_unescaped(name)] = _unescaped(value)
    return found


def _escaped(text: str) -> str:
    return re.sub(r"([=;#\\])", r"\\\1", text)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def xmp(metadata: Mapping[str, str]) -> bytes:
    """Return an XMP packet: every text under artv's own namespace, and the standard ones."""
    names = {f"artv:{name}": text for name, text in metadata.items()}
    names |= {_STANDARD[name]: text for name, text in metadata.items() if name in _STANDARD}
    spaces = "".join(f" xmlns:{prefix}={quoteattr(uri)}" for prefix, uri in _NAMESPACES.items())
    texts = "".join(f" {name}={quoteattr(text)}" for name, text in names.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
        f'<rdf:Description rdf:about=""{spaces}{texts}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def parse_xmp(packet: bytes) -> dict[str, str]:
    """Return artv's texts from an XMP packet; nothing where there are none."""
    try:
        root = ElementTree.fromstring(packet.decode("utf-8", "replace"))
    except ElementTree.ParseError:
        return {}
    ours = f"{{{_NAMESPACES['artv']}}}"
    return {
        name.removeprefix(ours): text
        for element in root.iter(f"{{{_RDF}}}Description")
        for name, text in element.attrib.items()
        if name.startswith(ours)
    }


def xmp_box(metadata: Mapping[str, str]) -> bytes:
    """Return the top-level MP4 box that holds the XMP packet."""
    packet = xmp(metadata)
    return struct.pack(">I4s16s", 24 + len(packet), b"uuid", _XMP_UUID) + packet


def gif_comment(text: str) -> bytes:
    """Return a GIF comment extension; `text` is ASCII, as the format asks."""
    data = text.encode("ascii", "replace")
    return b"\x21\xfe" + b"".join(_sub_blocks(data)) + b"\x00"


def _sub_blocks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 255):
        block = data[start : start + 255]
        yield bytes([len(block)]) + block
