"""Leaves secrets out of text: those of this process, and what has a secret's form or name."""

import re
from collections.abc import Iterable

HIDDEN = "***"

MIN_LENGTH = 8
"""A shorter secret would hide words that have nothing to do with it."""

_FORMS = (
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+(@)"), rf"\g<1>{HIDDEN}\g<2>"),  # the password of a URL
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\g<1>\g<2>{HIDDEN}"),
    (
        re.compile(
            r"(?i)\b((?:[a-z_-]*(?:api[_-]?key|password|passwd|secret|token|keyring|private[_-]?key)"
            r"|payment-signature|x-payment|cookie)[\"']?\s*[:=]\s*[\"']?)([^\s\"',;&}]{4,})"
        ),
        rf"\g<1>{HIDDEN}",
    ),
)
"""A URL's password, credentials of a header, and values that follow a name such as `api-key=`."""


class Secrets:
    """What is left out: these texts, and whatever has a secret's form."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        longest_first = sorted({each for each in known if len(each) >= MIN_LENGTH}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def left_out_of(self, text: str) -> str:
        """The text with `***` in place of secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for form, shown in _FORMS:
            text = form.sub(shown, text)
        return text
