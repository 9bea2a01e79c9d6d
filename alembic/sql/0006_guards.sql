-- What is refused whoever asks, the tables' owner included. SQLSTATE AP001 is ours. A blank line twice ends a statement.
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the ledger is append-only', TG_OP, TG_TABLE_NAME USING ERRCODE = 'AP001';
END $$


CREATE FUNCTION guard_transactions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ranks constant text[] := ARRAY['PENDING', 'RETRYING', 'SUCCESS', 'VERIFIED'];
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- What a restored ledger forgot is booked as the chain shows it, and was no attempt of a known request.
        IF NEW.status NOT IN ('PENDING', 'FAILED') AND NOT (NEW.status = 'VERIFIED' AND NEW.attempt_number IS NULL
           AND NEW.error_code IS NOT DISTINCT FROM 'booked_after_restore'
           AND num_nulls(NEW.hash, NEW.slot, NEW.verification_hash) = 0) THEN
            RAISE EXCEPTION 'payment % cannot begin as %', NEW.id, NEW.status USING ERRCODE = 'AP001';
        END IF;
        RETURN NEW;
    END IF;
    IF ROW(NEW.id, NEW.agent_id, NEW.amount, NEW.currency, NEW.network, NEW.x402_request_id, NEW.attempt_number,
           NEW.retry_count, NEW.created_at, NEW.session_id, NEW.memo, NEW.message_hash, NEW.buyer_signature,
           NEW.blockhash, NEW.blockhash_slot, NEW.last_valid_block_height, NEW.pay_to, NEW.mint, NEW.source_account,
           NEW.destination_account, NEW.authority, NEW.x402_version, NEW.newest_prior_signature, NEW.host,
           NEW.resource)
       IS DISTINCT FROM
       ROW(OLD.id, OLD.agent_id, OLD.amount, OLD.currency, OLD.network, OLD.x402_request_id, OLD.attempt_number,
           OLD.retry_count, OLD.created_at, OLD.session_id, OLD.memo, OLD.message_hash, OLD.buyer_signature,
           OLD.blockhash, OLD.blockhash_slot, OLD.last_valid_block_height, OLD.pay_to, OLD.mint, OLD.source_account,
           OLD.destination_account, OLD.authority, OLD.x402_version, OLD.newest_prior_signature, OLD.host,
           OLD.resource)
    THEN
        RAISE EXCEPTION 'payment %: what identifies it never changes', OLD.id USING ERRCODE = 'AP001';
    END IF;
    IF NEW.status <> OLD.status AND (OLD.status IN ('VERIFIED', 'FAILED') OR (NEW.status <> 'FAILED'
       AND array_position(ranks, NEW.status::text) < array_position(ranks, OLD.status::text))) THEN
        RAISE EXCEPTION 'payment %: % cannot become %', OLD.id, OLD.status, NEW.status USING ERRCODE = 'AP001';
    END IF;
    IF OLD.status IN ('VERIFIED', 'FAILED')
       AND ROW(NEW.hash, NEW.slot, NEW.verification_hash, NEW.error_code, NEW.error_type)
       IS DISTINCT FROM ROW(OLD.hash, OLD.slot, OLD.verification_hash, OLD.error_code, OLD.error_type) THEN
        RAISE EXCEPTION 'payment %: its outcome % is final', OLD.id, OLD.status USING ERRCODE = 'AP001';
    END IF;
    IF NEW.status = 'VERIFIED' AND num_nulls(NEW.hash, NEW.slot, NEW.verification_hash) > 0
       AND OLD.status <> 'VERIFIED' THEN
        RAISE EXCEPTION 'payment %: VERIFIED needs what the chain showed', OLD.id USING ERRCODE = 'AP001';
    END IF;
    -- What was seen at confirmed gives way to what is final, and to nothing else.
    IF OLD.hash IS NOT NULL AND NEW.hash IS DISTINCT FROM OLD.hash AND NEW.status <> 'VERIFIED' THEN
        RAISE EXCEPTION 'payment %: its transaction is recorded already', OLD.id USING ERRCODE = 'AP001';
    END IF;
    IF NEW.sends < OLD.sends THEN
        RAISE EXCEPTION 'payment %: what was sent stays sent', OLD.id USING ERRCODE = 'AP001';
    END IF;
    RETURN NEW;
END $$


CREATE FUNCTION guard_requests() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF ROW(NEW.id, NEW.agent_id, NEW.endpoint, NEW.method, NEW.created_at, NEW.request_id, NEW.x402_request_id,
           NEW.url, NEW.terms_hash, NEW.max_price, NEW.currency_preference, NEW.watch, NEW.body_hash)
       IS DISTINCT FROM
       ROW(OLD.id, OLD.agent_id, OLD.endpoint, OLD.method, OLD.created_at, OLD.request_id, OLD.x402_request_id,
           OLD.url, OLD.terms_hash, OLD.max_price, OLD.currency_preference, OLD.watch, OLD.body_hash)
    THEN
        RAISE EXCEPTION 'request %: what identifies it never changes', OLD.id USING ERRCODE = 'AP001';
    END IF;
    IF NEW.delivery <> OLD.delivery AND (OLD.delivery = 'DELIVERED' OR NEW.delivery = 'NONE') THEN
        RAISE EXCEPTION 'request %: % cannot become %', OLD.id, OLD.delivery, NEW.delivery USING ERRCODE = 'AP001';
    END IF;
    IF NEW.delivery = 'DELIVERED' AND OLD.delivery <> 'DELIVERED' AND NEW.body_sha256 IS NULL THEN
        RAISE EXCEPTION 'request %: DELIVERED needs the hash of the content', OLD.id USING ERRCODE = 'AP001';
    END IF;
    IF OLD.closed_at IS NOT NULL
       AND ROW(NEW.closed_at, NEW.outcome, NEW.error_code, NEW.error_message, NEW.result, NEW.price, NEW.pay_to,
               NEW.transaction_id)
       IS DISTINCT FROM ROW(OLD.closed_at, OLD.outcome, OLD.error_code, OLD.error_message, OLD.result, OLD.price,
                            OLD.pay_to, OLD.transaction_id) THEN
        RAISE EXCEPTION 'request %: its end is final', OLD.id USING ERRCODE = 'AP001';
    END IF;
    IF OLD.conflict AND NOT NEW.conflict THEN
        RAISE EXCEPTION 'request %: a conflict stays one', OLD.id USING ERRCODE = 'AP001';
    END IF;
    RETURN NEW;
END $$


-- Delivered content is never replaced; after its time it may be removed, and its hash stays.
CREATE FUNCTION guard_content() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.delivery = 'DELIVERED' AND (
        ROW(NEW.body_sha256, NEW.content_type) IS DISTINCT FROM ROW(OLD.body_sha256, OLD.content_type)
        OR NEW.answered_at IS DISTINCT FROM coalesce(OLD.answered_at, NEW.answered_at)
        OR (NEW.body IS NOT NULL AND NEW.body IS DISTINCT FROM OLD.body)
        OR (NEW.success_payload IS NOT NULL AND NEW.success_payload IS DISTINCT FROM OLD.success_payload)) THEN
        RAISE EXCEPTION 'request %: what was delivered never changes', OLD.id USING ERRCODE = 'AP001';
    END IF;
    RETURN NEW;
END $$


CREATE FUNCTION guard_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF ROW(NEW.id, NEW.agent_id, NEW.created_at, NEW.public_key, NEW.currency, NEW.mint, NEW.source_account,
           NEW.owner_wallet, NEW.allowance, NEW.scope - 'ownerTransaction')
       IS DISTINCT FROM
       ROW(OLD.id, OLD.agent_id, OLD.created_at, OLD.public_key, OLD.currency, OLD.mint, OLD.source_account,
           OLD.owner_wallet, OLD.allowance, OLD.scope - 'ownerTransaction') THEN
        RAISE EXCEPTION 'session %: what it may do never changes', OLD.id USING ERRCODE = 'AP001';
    END IF;
    -- Its time begins with the owner's grant, which it waits for.
    IF NEW.expires_at <> OLD.expires_at AND NOT OLD.scope ? 'ownerTransaction' THEN
        RAISE EXCEPTION 'session %: its end never changes', OLD.id USING ERRCODE = 'AP001';
    END IF;
    IF NEW.status <> OLD.status AND OLD.status <> 'ACTIVE' THEN
        RAISE EXCEPTION 'session %: % cannot become %', OLD.id, OLD.status, NEW.status USING ERRCODE = 'AP001';
    END IF;
    RETURN NEW;
END $$


CREATE FUNCTION guard_agents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF ROW(NEW.id, NEW.name, NEW.created_at) IS DISTINCT FROM ROW(OLD.id, OLD.name, OLD.created_at) THEN
        RAISE EXCEPTION 'agent %: what identifies it never changes', OLD.id USING ERRCODE = 'AP001';
    END IF;
    RETURN NEW;
END $$


CREATE FUNCTION guard_approvals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF ROW(NEW.id, NEW.agent_id, NEW.x402_request_id, NEW.terms_hash, NEW.terms, NEW.why, NEW.created_at,
           NEW.expires_at)
       IS DISTINCT FROM
       ROW(OLD.id, OLD.agent_id, OLD.x402_request_id, OLD.terms_hash, OLD.terms, OLD.why, OLD.created_at,
           OLD.expires_at) THEN
        RAISE EXCEPTION 'approval %: what was asked never changes', OLD.id USING ERRCODE = 'AP001';
    END IF;
    IF NEW.status <> OLD.status AND (NEW.status = 'PENDING' OR OLD.status IN ('DENIED', 'CONSUMED', 'EXPIRED')) THEN
        RAISE EXCEPTION 'approval %: % cannot become %', OLD.id, OLD.status, NEW.status USING ERRCODE = 'AP001';
    END IF;
    RETURN NEW;
END $$


CREATE FUNCTION guard_anchors() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status <> 'PENDING'
       OR ROW(NEW.id, NEW.network, NEW.root, NEW.heads, NEW.payer, NEW.signature, NEW.wire,
              NEW.last_valid_block_height, NEW.created_at)
       IS DISTINCT FROM ROW(OLD.id, OLD.network, OLD.root, OLD.heads, OLD.payer, OLD.signature, OLD.wire,
                            OLD.last_valid_block_height, OLD.created_at) THEN
        RAISE EXCEPTION 'anchor %: it never changes', OLD.id USING ERRCODE = 'AP001';
    END IF;
    RETURN NEW;
END $$
