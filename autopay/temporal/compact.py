"""Makes payloads small before they are sealed: what is sealed cannot be compressed any more.

Payloads of payments are short and alike, so they are compressed against a text that has what most of them have: a
fetched challenge of 800 bytes becomes 160. Every history keeps what it was written with: a dictionary that is released
never changes, a new one gets the next number.

| first byte | means |
|---|---|
| 0 | compressed: the dictionary's number, then raw deflate. No serialized `Payload` begins with it |
| any other | as it was, like all that releases up to 0.2.0 have sealed |
"""

import zlib

MIN_BYTES = 100
"""What is shorter stays as it is; that a worker of before reads what people send by hand matters more."""

MAX_BYTES = 8 << 20
"""Beyond what Temporal takes in one message; whatever expands to more is damaged."""

_MARK = 0
_LEVEL = 6
_WINDOW_BITS = -12
_MEMORY_LEVEL = 5
_DICTIONARIES = (
    b'"reserve and sign  USDC for , attempt 1""submit  USDC to , attempt 1""look for  USDC on chain, attempt 1"'
    b'"402: choose among 1 ways to pay""until  USDC is final""close as delivered""start 1: ""enqueue 1: "'
    b'{"agent":"","queue_limit":500,"requests":[{"spec":{"request_id":"","url":"http://127.0.0.1:"},"score":1.0,'
    b'"fresh_since":null}]}{"orders":[{"agent":"","request_id":"","request_key":"ap_"}]}'
    b'{"kind":"enqueued","status":"waiting","content_of":null,"content_at":null}'
    b'{"request_id":"","status":"delivered","final":true,"held":null,"error":null,"http_status":200,"currency":"USDC",'
    b'"amount_atomic":1000,"transaction":null,"message":null}'
    b'{"request_id":"","status":"delivered","http_status":200,"price":"0.001000","currency":"USDC","transaction":"",'
    b'"pay_to":"","attempts":1,"workflow_id":"pay/","error":null,"content_of":null,"content_complete":true,'
    b'"content_encoding":null,"content_location":null}'
    b'{"kind":"settled","settlement":{"signature":"","slot":,"payer":"","destination":"",'
    b'"mint":"4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU","amount_atomic":1000}}'
    b'{"kind":"content","http_status":200,"complete":true,"encoding":null,"final_in_ms":12800}'
    b'{"kind":"signed","attempt_id":"","number":1,"currency":"USDC","amount_atomic":1000,"pay_to":"",'
    b'"max_settled_sends":15,"is_new":true}'
    b'{"order":{"agent":"","request_id":"","request_key":"ap_","url":"https://","method":"GET","canceled":false,'
    b'"breaker":"closed","accepted":null},"number":1,"closing":false,"notice":{"request_id":"","url":"https://",'
    b'"method":"GET","max_price_atomic":null,"currency":null,"body_hash":null,"sealed_extras":null,"watch":null,'
    b'"max_age_s":null}}"resource_raw":null,"extensions_raw":null,"offers_payment_identifier":false}'
    b'{"kind":"offer","version":2,"network":"DEVNET","currency":"USDC","mint":"","amount_atomic":1000,"pay_to":"",'
    b'"fee_payer":"","memo":null,"accepted_raw":"{\\"scheme\\": \\"exact\\", '
    b'\\"network\\": \\"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp\\", '
    b'\\"network\\": \\"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1\\", '
    b'\\"asset\\": \\"EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v\\", '
    b'\\"asset\\": \\"4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU\\", \\"amount\\": \\"1000\\", \\"payTo\\": \\"\\", '
    b'\\"maxTimeoutSeconds\\": 60, \\"extra\\": {\\"feePayer\\": \\"\\"}}","resource_raw":null,"extensions_raw":null,'
    b'"payment_identifier":false}{"kind":"challenge","version":2,"options":[{"scheme":"exact",'
    b'"network":"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1","asset":"4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",'
    b'"amount":"1000","pay_to":"","fee_payer":"","memo":null,"raw":"\n\x16\n\x08encoding\x12\njson/plain\x12',
)


def compact(plain: bytes) -> bytes:
    """The same in fewer bytes, when that is possible."""
    if len(plain) < MIN_BYTES:
        return plain
    newest = len(_DICTIONARIES) - 1
    deflating = zlib.compressobj(
        _LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, _DICTIONARIES[newest]
    )
    small = bytes((_MARK, newest)) + deflating.compress(plain) + deflating.flush()
    return small if len(small) < len(plain) else plain


def expand(stored: bytes) -> bytes:
    """What `compact` was given.

    Raises:
        ValueError: it is damaged, or compressed with the dictionary of a newer release.
    """
    if not stored or stored[0] != _MARK:
        return stored
    if len(stored) < 2 or stored[1] >= len(_DICTIONARIES):
        raise ValueError("compressed by a newer release")
    inflating = zlib.decompressobj(_WINDOW_BITS, _DICTIONARIES[stored[1]])
    try:
        plain = inflating.decompress(stored[2:], MAX_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not inflating.eof:
        raise ValueError("it is cut, or too long")
    return plain
