-- The beginning of every chain: one event for each row that is there, oldest first.
DO $adopt$
DECLARE
    told record;
    chain uuid;
    seq bigint := 0;
    last bytea;
    bytes bytea;
    moment constant timestamptz := clock_timestamp();
BEGIN
    SET LOCAL timezone = 'UTC';
    FOR told IN SELECT * FROM ({rows}) AS row ORDER BY row.chain, born, rank, id LOOP
        IF told.chain IS DISTINCT FROM chain THEN
            IF chain IS NOT NULL THEN
                INSERT INTO audit_heads VALUES (chain, seq, last);
            END IF;
            chain := told.chain;
            seq := 0;
            last := decode(repeat('00', 32), 'hex');
        END IF;
        seq := seq + 1;
        bytes := audit_payload(chain, seq, told.kind, told.id, moment, told.told);
        INSERT INTO audit_events (agent_id, seq, xid, kind, row_id, at, previous, payload, hash)
        VALUES (chain, seq, pg_current_xact_id()::text::bigint, told.kind, told.id, moment, last, bytes,
                sha256(last || bytes));
        last := sha256(last || bytes);
    END LOOP;
    IF chain IS NOT NULL THEN
        INSERT INTO audit_heads VALUES (chain, seq, last);
    END IF;
END $adopt$
