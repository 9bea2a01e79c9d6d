"""Text from others that is fit to be shown. Pure."""

import codecs


def printable(text: str) -> str:
    """Text without control characters: a seller's text or an agent's name must not control the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def content_text(content: bytes) -> str | None:
    """Content as text, when it is UTF-8 that a terminal can show; a character cut at the end is left out."""
    text = utf8_text(content)
    return text if text is not None and printable(text.replace("\r", "")) == text.replace("\r", "") else None


def utf8_text(content: bytes) -> str | None:
    """Content as text, when it is UTF-8 without NUL, for readers that show its control characters by their numbers; a
    character cut at the end is left out.
    """
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
