"""A ledger of any size, made by the database itself: a year of payments by twenty agents, unless it is told otherwise.

The rows are as the ledger writes them (keys, states, what recovery needs); the signatures and the sealed payments are
random text of the real length. Triggers and foreign key checks are off while it loads.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, text

RARE_ENDPOINT = "/api/rare"
BUSY_AGENT = "agent-00"
"""Half of all payments are its."""

HOST = "api.example.com"


@dataclass(frozen=True)
class Shape:
    """What the rows are like: whose, over how many days until now, how long their texts, and whether with events."""

    agents: int = 20
    days: float = 365
    sealed: int = 1_200
    words: int = 8
    events: bool = True


AGENT_ROWS = """
INSERT INTO agents (id, name, autonomy_phase, wallet_address)
SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'agent-' || lpad(n::text, 2, '0'), 'FULL', 'wallet'
  FROM generate_series(0, :agents - 1) AS n
"""

SESSION_ROWS = """
INSERT INTO sessions (id, agent_id, session_token, scope, status, expires_at, public_key, currency, mint,
                      source_account, owner_wallet, allowance)
SELECT id, id, 'sealed', '{"txLimit": 10000000, "duration": 86400}', 'ACTIVE', now() + interval '1 year',
       'delegate-' || name, 'USDC', 'mint', 'source-' || name, 'wallet', 1000000
  FROM agents
"""

# One row a request, the oldest first; what the two tables share is worked out once.
MADE = """
CREATE UNLOGGED TABLE made AS
SELECT n, at, agent.id AS agent_id, 'market-' || n AS request_id,
       'ap_' || left(encode(sha256(convert_to(agent.name || '/market-' || n, 'UTF8')), 'hex'), 48) AS key,
       (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8'
        || substr(md5(n::text), 4, 15))::uuid AS id,
       CASE WHEN n % (:rows / 20 + 1) = 7 THEN :rare ELSE '/api/feed-' || CAST(n AS bigint) * 7919 % 200 END
       AS endpoint,
       CASE WHEN n > :rows - 100 THEN (ARRAY['PENDING', 'RETRYING', 'SUCCESS'])[1 + n % 3]
            WHEN n % 40 = 0 THEN 'FAILED' ELSE 'VERIFIED' END AS status,
       (1000 + n % 50 * 100) / 1000000.0 AS amount,
       'payee-' || (CAST(n AS bigint) * 104729 % 400) AS payee
  FROM generate_series(1, :rows) AS n
 CROSS JOIN LATERAL (SELECT now() - :days * interval '1 day' * (1 - n / CAST(:rows AS float8)) AS at) AS moment
  JOIN agents AS agent
    ON agent.name = 'agent-' || lpad((CASE WHEN n % 2 = 0 THEN 0 ELSE n / 2 % :agents END)::text, 2, '0')
"""

TRANSACTION_ROWS = """
INSERT INTO transactions (id, agent_id, hash, amount, currency, status, x402_request_id, facilitator_response,
       error_type, error_code, network, created_at, session_id, verification_hash, attempt_number, memo, message_hash,
       buyer_signature, blockhash, blockhash_slot, last_valid_block_height, sealed_payment, pay_to, mint,
       source_account, destination_account, authority, x402_version, sends, sent_at, slot, host, resource, endpoint,
       updated_at)
SELECT id, agent_id, CASE WHEN status = 'VERIFIED' THEN signature END, amount, 'USDC', status::transaction_status, key,
       jsonb_build_object('success', true, 'transaction', signature, 'network', 'solana-devnet'),
       CASE WHEN status = 'FAILED' THEN 'NETWORK_FAILURE'::error_type END,
       CASE WHEN status = 'FAILED' THEN 'expired_unsettled' END, 'DEVNET', at, agent_id,
       CASE WHEN status = 'VERIFIED' THEN md5(key) || md5(signature) END, 1, key, md5(key) || md5(key || 'm'),
       reverse(signature), left(signature, 44), n, n + 150,
       rpad(signature, :sealed, encode(sha512(convert_to(key, 'UTF8')), 'hex')), payee, 'mint', 'source',
       payee || '-ata', 'delegate', 2, 1, at, CASE WHEN status = 'VERIFIED' THEN n END, 'api.example.com:443',
       'GET https://api.example.com' || endpoint, endpoint, at
  FROM made
 CROSS JOIN LATERAL (SELECT left(encode(sha512(convert_to(key || 's', 'UTF8')), 'hex'), 88) AS signature) AS signed
 ORDER BY n
"""

REQUEST_ROWS = """
INSERT INTO api_request_logs (id, agent_id, endpoint, method, response_status, x402_instructions, success_payload,
       transaction_id, created_at, request_id, x402_request_id, url, terms_hash, delivery, outcome, result,
       content_type, body, body_sha256, price, pay_to, answered_at, closed_at)
SELECT overlay(id::text PLACING '9' FROM 20 FOR 1)::uuid, agent_id, endpoint, 'GET', 200,
       jsonb_build_object('x402Version', 2, 'accepts', jsonb_build_array(jsonb_build_object('payTo', payee, 'amount',
       amount, 'asset', md5(key), 'network', 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1', 'note',
       repeat(md5(key), :words)))),
       jsonb_build_object('quotes', repeat(md5(key), :words)), id, at - interval '1 second', request_id, key,
       'https://api.example.com' || endpoint, md5(endpoint), delivery::delivery, outcome,
       CASE WHEN outcome IS NOT NULL THEN jsonb_build_object('request_id', request_id, 'status', outcome) END,
       'application/json', convert_to(repeat(md5(key), :words), 'UTF8'), md5(key) || md5(key), amount, payee,
       CASE WHEN delivery = 'DELIVERED' THEN at END, CASE WHEN outcome IS NOT NULL THEN at + interval '1 minute' END
  FROM made CROSS JOIN LATERAL (
       SELECT CASE status WHEN 'VERIFIED' THEN 'DELIVERED' ELSE 'NONE' END AS delivery,
              CASE status WHEN 'VERIFIED' THEN 'delivered' WHEN 'FAILED' THEN 'failed' END AS outcome) AS ended
 ORDER BY n
"""

QUEUE_ROWS = """
INSERT INTO priority_queue (id, agent_id, api_request_id, priority_score, queued_at, processed_at)
SELECT id, agent_id, overlay(id::text PLACING '9' FROM 20 FOR 1)::uuid, 1, at - interval '1 second', at
  FROM made ORDER BY n
"""

BALANCE_ROWS = """
INSERT INTO balance_snapshots (id, agent_id, balance, currency, status, snapshot_at)
SELECT gen_random_uuid(), agent_id, 10 - n % 1000 / 200.0, 'USDC', 'SUFFICIENT', at FROM made WHERE n % 4 = 0 ORDER BY n
"""

# Three events a payment, as the triggers write them; the hashes are of the right length and chain nothing. Readers are
# given only what is older than every open transaction: the numbers are below those that a new server hands out.
EVENT_ROWS = """
INSERT INTO audit_events (agent_id, seq, xid, kind, row_id, at, previous, payload, hash)
SELECT agent_id, row_number() OVER (PARTITION BY agent_id ORDER BY n, step),
       3 + (CAST(n AS bigint) * 3 + step) * 600 / (:rows * 3 + 3),
       CASE step WHEN 0 THEN 'transactions.created' ELSE 'transactions.changed' END, id,
       at + step * interval '1 second', sha256(convert_to(key, 'UTF8')),
       convert_to(jsonb_build_object('kind', 'transactions.changed', 'row', id, 'at', at, 'agent', agent_id, 'values',
       CASE step WHEN 0 THEN jsonb_build_object('status', 'PENDING', 'memo', key, 'message_hash', md5(key),
       'pay_to', payee, 'amount', amount) WHEN 1 THEN jsonb_build_object('sends', 1, 'sent_at', at)
       ELSE jsonb_build_object('status', status, 'hash', repeat(md5(key), 3)) END)::text, 'UTF8'),
       sha256(convert_to(key || step, 'UTF8'))
  FROM made CROSS JOIN generate_series(0, 2) AS step
 ORDER BY n, step
"""

PARTS = {
    "agents": AGENT_ROWS,
    "sessions": SESSION_ROWS,
    "keys": MADE,
    "transactions": TRANSACTION_ROWS,
    "api_request_logs": REQUEST_ROWS,
    "priority_queue": QUEUE_ROWS,
    "balance_snapshots": BALANCE_ROWS,
    "audit_events": EVENT_ROWS,
}


def load(connection: Connection, rows: int, tell: Callable[[str], None], shape: Shape) -> None:
    """Fill an empty schema with `rows` payments, as many requests, thrice as many events, some balances; then VACUUM.

    Args:
        connection: in autocommit mode, as a superuser.
        rows: payments.
        tell: hears what is made next.
        shape: what the rows are like.
    """
    connection.execute(text("SET statement_timeout = 0"))
    connection.execute(text("SET synchronous_commit = off"))
    connection.execute(text("SET session_replication_role = replica"))
    values = {"rows": rows, "rare": RARE_ENDPOINT} | asdict(shape)
    parts = {part: statement for part, statement in PARTS.items() if shape.events or part != "audit_events"}
    for part, statement in parts.items():
        tell(part)
        query = text(statement)
        connection.execute(query, {name: values[name] for name in query.compile().params})
    connection.execute(text("DROP TABLE made"))
    connection.execute(text("SET session_replication_role = origin"))
    tell("counters")
    connection.execute(text("SELECT recount_usage()"))
    tell("VACUUM ANALYZE")
    connection.execute(text("VACUUM (ANALYZE)"))
