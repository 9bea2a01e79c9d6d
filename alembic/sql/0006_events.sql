-- How an event comes about. A blank line twice ends a statement.
-- The canonical bytes of an event: the text of a jsonb value (keys in its order), UTF-8, times in UTC.
CREATE FUNCTION audit_payload(chain uuid, seq bigint, kind text, row_id uuid, at timestamptz, told jsonb)
RETURNS bytea LANGUAGE sql STABLE SET timezone = 'UTC' AS $$
    SELECT convert_to(jsonb_build_object(
        'agent', chain, 'seq', seq, 'kind', kind, 'row', row_id, 'at', at, 'values', told)::text, 'UTF8')
$$


-- At once, beside each change: which chains this transaction touches, so that their heads are locked in one order.
CREATE FUNCTION audit_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    noted text := coalesce(current_setting('autopay.chains', true), '');
    chain text := coalesce(CASE TG_OP WHEN 'DELETE' THEN OLD.agent_id ELSE NEW.agent_id END,
                           '00000000-0000-0000-0000-000000000000')::text;
BEGIN
    IF position(chain IN noted) = 0 THEN
        PERFORM set_config('autopay.chains', ltrim(noted || ',' || chain, ','), true);
    END IF;
    RETURN NULL;
END $$


CREATE FUNCTION audit_note_agent() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    noted text := coalesce(current_setting('autopay.chains', true), '');
    chain text := CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END;
BEGIN
    IF position(chain IN noted) = 0 THEN
        PERFORM set_config('autopay.chains', ltrim(noted || ',' || chain, ','), true);
    END IF;
    RETURN NULL;
END $$


-- At commit, once for each changed row: the event. The head's row is the last lock that a transaction takes.
-- A row without an agent goes to the chain of nobody (the nil UUID); a payee that is first paid goes to its payer's
-- chain, so that agents do not meet at one head while they pay.
CREATE FUNCTION audit_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET timezone = 'UTC' AS $$
DECLARE
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    noted constant text := coalesce(current_setting('autopay.chains', true), '');
    verb constant text := CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END;
    chain uuid;
    told jsonb;
    head audit_heads;
    moment timestamptz;
    bytes bytea;
BEGIN
    IF TG_OP = 'DELETE' THEN told := audit_state(OLD); ELSE told := audit_state(NEW); END IF;
    chain := CASE TG_TABLE_NAME
        WHEN 'agents' THEN (told ->> 'id')::uuid
        WHEN 'counterparties' THEN coalesce(nullif(split_part(noted, ',', 1), '')::uuid, nobody)
        ELSE coalesce((told ->> 'agent_id')::uuid, nobody) END;
    IF position(',' IN noted) > 0 AND current_setting('autopay.locked', true) IS DISTINCT FROM noted THEN
        INSERT INTO audit_heads
        SELECT each::uuid, 0, decode(repeat('00', 32), 'hex') FROM unnest(string_to_array(noted, ',')) AS each
        ORDER BY each::uuid
        ON CONFLICT (agent_id) DO UPDATE SET seq = audit_heads.seq;
        PERFORM set_config('autopay.locked', noted, true);
    END IF;
    SELECT * INTO head FROM audit_heads WHERE agent_id = chain FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO audit_heads VALUES (chain, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
        SELECT * INTO head FROM audit_heads WHERE agent_id = chain FOR UPDATE;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(now.key, now.value) INTO told
        FROM jsonb_each(told) AS now, audit_state(OLD) AS before
        WHERE now.value IS DISTINCT FROM before -> now.key;
    END IF;
    moment := clock_timestamp();
    bytes := audit_payload(chain, head.seq + 1, TG_TABLE_NAME || '.' || verb,
                           CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END, moment, told);
    INSERT INTO audit_events (agent_id, seq, xid, kind, row_id, at, previous, payload, hash)
    VALUES (chain, head.seq + 1, pg_current_xact_id()::text::bigint, TG_TABLE_NAME || '.' || verb,
            CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END, moment, head.hash, bytes,
            sha256(head.hash || bytes));
    UPDATE audit_heads SET seq = head.seq + 1, hash = sha256(head.hash || bytes) WHERE agent_id = chain;
    RETURN NULL;
END $$


-- No search path of a caller leads these functions to other tables.
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION audit_write() SET search_path = %I, pg_temp', current_schema());
END $$
