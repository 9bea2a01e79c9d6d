"""Text from others that is fit to be shown in a terminal. Pure."""


def printable(text: str) -> str:
    """Text without control characters: a seller's text or an agent's name must not control the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)
