-- What never changes of an endpoint, and how an agent's own pause becomes an event. A blank line twice ends a statement.
CREATE FUNCTION guard_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF ROW(NEW.id, NEW.url, NEW.events, NEW.created_at) IS DISTINCT FROM ROW(OLD.id, OLD.url, OLD.events, OLD.created_at)
    THEN
        RAISE EXCEPTION 'webhook %: where it sends what never changes', OLD.id USING ERRCODE = 'AP001';
    END IF;
    IF OLD.removed_at IS NOT NULL AND NEW.removed_at IS DISTINCT FROM OLD.removed_at THEN
        RAISE EXCEPTION 'webhook %: it stays removed', OLD.id USING ERRCODE = 'AP001';
    END IF;
    RETURN NEW;
END $$


-- An agent pauses when no currency has what it needs, and goes on when one has. Of a reading's several currencies the
-- first one tells: the newest snapshot before it is of the reading before. Before the insertion, so that NEW is not met.
CREATE FUNCTION note_pause() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    before text;
BEGIN
    SELECT status INTO before FROM balance_snapshots WHERE agent_id = NEW.agent_id
    ORDER BY snapshot_at DESC, id DESC LIMIT 1;
    IF (NEW.status = 'PAUSED') IS DISTINCT FROM (coalesce(before, 'SUFFICIENT') = 'PAUSED') THEN
        INSERT INTO operator_actions (id, agent_id, actor, via, action, details, outcome, ended_at)
        SELECT gen_random_uuid(), NEW.agent_id, name, 'agent',
               CASE NEW.status WHEN 'PAUSED' THEN 'pause' ELSE 'resume' END,
               jsonb_build_object('reason', CASE NEW.status WHEN 'PAUSED' THEN 'it has less than it needs'
                                                            ELSE 'it has what it needs' END,
                                  'currency', NEW.currency, 'balance', NEW.balance, 'needed', NEW.threshold),
               'done', now()
        FROM agents WHERE id = NEW.agent_id;
    END IF;
    RETURN NEW;
END $$


-- No search path of a caller leads this function to other tables.
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION note_pause() SET search_path = %I, pg_temp', current_schema());
END $$
