-- What a session has used, and what an agent spent at a host in a day, as rows that move with the payments.
-- A blank line twice ends a statement.
--
-- Locks. Whoever moves an agent's counters takes that agent's advisory lock first and keeps it until its end: of one
-- agent, one transaction at a time moves counters, however many and in whatever order. It is taken when a payment is
-- added or fails, so after the rows that such a transaction locks (agent, session, request, payment), and before the
-- chains' heads, which are locked at commit, one transaction of an agent at a time as well. So whoever waits here for
-- another waits for one that needs no row of the first any more. Two rules keep it so: once a transaction has added a
-- payment or failed one, it locks no agent, session, request or payment that it does not hold already; and one that
-- does so for several agents goes through them in the order of their ids.
CREATE FUNCTION move_usage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    -- What the chain shows already is booked whatever the limits are; only a reservation is held to them.
    reserves constant boolean := TG_OP = 'INSERT' AND NEW.status = 'PENDING';
    on_day constant date := (NEW.created_at AT TIME ZONE 'UTC')::date;
    at_host constant text := coalesce(NEW.host, '');
    session_allowance numeric;
    session_limit bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('usage of ' || NEW.agent_id, 0));
    IF NEW.status = 'FAILED' THEN  -- proven not settled: it counts no more
        UPDATE session_usage SET payments = payments - 1, spent = spent - NEW.amount
        WHERE session_id = NEW.session_id;
        UPDATE day_usage SET payments = payments - 1, spent = spent - NEW.amount
        WHERE agent_id = NEW.agent_id AND day = on_day AND host = at_host;
        RETURN NULL;
    END IF;
    IF NEW.session_id IS NOT NULL THEN
        IF reserves THEN
            SELECT allowance, (scope ->> 'txLimit')::bigint INTO session_allowance, session_limit
            FROM sessions WHERE id = NEW.session_id;
        END IF;
        INSERT INTO session_usage AS used (session_id, payments, spent)
        SELECT NEW.session_id, 1, NEW.amount
        WHERE (NEW.amount <= session_allowance AND 1 <= session_limit) IS NOT FALSE
        ON CONFLICT (session_id) DO UPDATE
        SET payments = used.payments + 1, spent = used.spent + excluded.spent
        WHERE (used.spent + excluded.spent <= session_allowance AND used.payments < session_limit) IS NOT FALSE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'payment %: session % allows % payments and % in all', NEW.id, NEW.session_id,
                session_limit, session_allowance USING ERRCODE = 'AP001';
        END IF;
    END IF;
    INSERT INTO day_usage AS used (agent_id, day, host, payments, spent)
    VALUES (NEW.agent_id, on_day, at_host, 1, NEW.amount)
    ON CONFLICT (agent_id, day, host) DO UPDATE
    SET payments = used.payments + 1, spent = used.spent + excluded.spent;
    RETURN NULL;
END $$


-- No search path of a caller leads this function to other tables.
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION move_usage() SET search_path = %I, pg_temp', current_schema());
END $$


CREATE FUNCTION guard_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: only payments move it; recount_usage() counts anew', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'AP001';
END $$


-- Every counter anew, from the payments that count: for the first time, and after somebody went past the triggers.
CREATE FUNCTION recount_usage() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE transactions, session_usage, day_usage IN SHARE ROW EXCLUSIVE MODE;
    ALTER TABLE session_usage DISABLE TRIGGER by_payments_only;
    ALTER TABLE day_usage DISABLE TRIGGER by_payments_only;
    DELETE FROM session_usage;
    DELETE FROM day_usage;
    INSERT INTO session_usage (session_id, payments, spent)
    SELECT session_id, count(*), sum(amount) FROM transactions
    WHERE status <> 'FAILED' AND session_id IS NOT NULL GROUP BY session_id;
    INSERT INTO day_usage (agent_id, day, host, payments, spent)
    SELECT agent_id, (created_at AT TIME ZONE 'UTC')::date, coalesce(host, ''), count(*), sum(amount)
    FROM transactions WHERE status <> 'FAILED' GROUP BY 1, 2, 3;
    ALTER TABLE session_usage ENABLE TRIGGER by_payments_only;
    ALTER TABLE day_usage ENABLE TRIGGER by_payments_only;
END $$
