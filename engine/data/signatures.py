"""Files that are no rows of text, known by their first bytes, each with what to do about it.

Knows nothing about files that are.
"""

ZIP, PARQUET = b"PK\x03\x04", b"PAR1"
_EXCEL = "This is an Excel workbook. Save its sheet as CSV (UTF-8) and drop that."
_DOCUMENT = "This is a word processor's document. Save it as plain text and drop that."
_PICTURE = "This is a picture. Text models learn from text only."
_PACKED = "This is packed in a way that is not read here. Unpack it, and drop what was in it."

_FIRST = (
    (b"%PDF", "This is a PDF. Save or copy its text into a text file and drop that."),
    (b"{\\rtf", _DOCUMENT),
    (b"\xd0\xcf\x11\xe0", "This is an older Office file. Save it as CSV or plain text and drop that."),
    (b"\x89PNG", _PICTURE),
    (b"\xff\xd8\xff", _PICTURE),
    (b"GIF8", _PICTURE),
    (b"BZh", _PACKED),
    (b"\xfd7zXZ", _PACKED),
    (b"7z\xbc\xaf", _PACKED),
    (b"Rar!", _PACKED),
    (b"\x28\xb5\x2f\xfd", _PACKED),
    (b"SQLite format 3\0", "This is an SQLite database. Export the table as CSV and drop that."),
    (b"ARROW1", "This is an Arrow file. Save the table as Parquet and drop that."),
    (b"PARE", "This Parquet file is encrypted. Save it without encryption."),
    (b"GGUF", "This is a model in GGUF, not a data set. Add it as a base model."),
    (b"\x80\x02", "This is a Python pickle, which can run code when it is read. Save the rows as JSONL."),
    (b"\x80\x03", "This is a Python pickle, which can run code when it is read. Save the rows as JSONL."),
    (b"\x80\x04", "This is a Python pickle, which can run code when it is read. Save the rows as JSONL."),
    (b"\x80\x05", "This is a Python pickle, which can run code when it is read. Save the rows as JSONL."),
)
NO_TEXT = (
    "This is not a text file. A data set is JSONL, JSON, CSV, TSV, Parquet, plain text or Markdown, or a gzip of these."
)
_PAGE = "This is a web page (HTML). Save its text as a text file and drop that."
_XML = "This is XML. Turn it into JSONL or CSV, one row for each thing to learn."


def refusal(head: bytes) -> str:
    """Why a file that begins with `head` is no data set, and what to do; empty if it may be one."""
    if head.startswith(ZIP):
        return _zip(head)
    known = next((told for first, told in _FIRST if head.startswith(first)), "")
    return known or _marked_up(head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower())


def _marked_up(first: bytes) -> str:
    if first.startswith((b"<!doctype html", b"<html")):
        return _PAGE
    return _XML if first.startswith(b"<?xml") else ""


def _zip(head: bytes) -> str:
    """A zip, or one of the formats that are zips inside."""
    if b"xl/" in head:
        return _EXCEL
    if b"word/" in head or b"opendocument.text" in head:
        return _DOCUMENT
    if b"opendocument.spreadsheet" in head:
        return _EXCEL
    return "This is a zip archive. Unpack it, and drop what was in it."
