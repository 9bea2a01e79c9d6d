-- What never changes of tokens, of logins and of what was ordered, whoever asks. A blank line twice ends a statement.
-- A token is not made stronger, longer or another one: it is revoked, and a new one is made.
CREATE FUNCTION guard_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF ROW(NEW.id, NEW.name, NEW.scopes, NEW.secret_hash, NEW.created_at, NEW.expires_at)
       IS DISTINCT FROM ROW(OLD.id, OLD.name, OLD.scopes, OLD.secret_hash, OLD.created_at, OLD.expires_at) THEN
        RAISE EXCEPTION 'token %: what it may do never changes', OLD.id USING ERRCODE = 'AP001';
    END IF;
    IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
        RAISE EXCEPTION 'token %: it stays revoked', OLD.id USING ERRCODE = 'AP001';
    END IF;
    RETURN NEW;
END $$


CREATE FUNCTION guard_logins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF ROW(NEW.id, NEW.token_id, NEW.secret_hash, NEW.created_at, NEW.expires_at)
       IS DISTINCT FROM ROW(OLD.id, OLD.token_id, OLD.secret_hash, OLD.created_at, OLD.expires_at)
       OR (OLD.ended_at IS NOT NULL AND NEW.ended_at IS DISTINCT FROM OLD.ended_at) THEN
        RAISE EXCEPTION 'login %: it can only end, once', OLD.id USING ERRCODE = 'AP001';
    END IF;
    RETURN NEW;
END $$


CREATE FUNCTION guard_actions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF ROW(NEW.id, NEW.agent_id, NEW.actor, NEW.via, NEW.token_id, NEW.action, NEW.target, NEW.details, NEW.created_at)
       IS DISTINCT FROM ROW(OLD.id, OLD.agent_id, OLD.actor, OLD.via, OLD.token_id, OLD.action, OLD.target,
                            OLD.details, OLD.created_at) THEN
        RAISE EXCEPTION 'action %: what was ordered never changes', OLD.id USING ERRCODE = 'AP001';
    END IF;
    IF OLD.ended_at IS NOT NULL
       AND ROW(NEW.outcome, NEW.error, NEW.ended_at) IS DISTINCT FROM ROW(OLD.outcome, OLD.error, OLD.ended_at) THEN
        RAISE EXCEPTION 'action %: its outcome is final', OLD.id USING ERRCODE = 'AP001';
    END IF;
    RETURN NEW;
END $$
