"""Text from others that is fit to be shown. Pure."""

import codecs


def printable(text: str) -> str:
    """Text without control characters: a seller's text or an agent's name must not control the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def content_text(content: bytes) -> str | None:
    """Content as text, when it is UTF-8 that can be shown; a character cut at the end is left out."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError:
        return None
    return text if printable(text.replace("\r", "")) == text.replace("\r", "") else None
