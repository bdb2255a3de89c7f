-- What was accepted and is not answered, what was decided and is not sent, and who may do either.

-- One owner for each chatbot: whoever took the newest epoch. A writer holds the chatbot's advisory lock in shared mode
-- while it checks its epoch and writes, and an owner-to-be in exclusive mode, so nothing is written for an old epoch
-- after a new one was taken.
CREATE TABLE tecnobot.lease (
    chatbot_id text PRIMARY KEY REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    epoch bigint NOT NULL,
    owner text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);

-- Ids that were accepted; they stay longer than their messages, so that what comes again is known.
CREATE TABLE tecnobot.inbox_key (
    chatbot_id text NOT NULL REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    message_id text NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chatbot_id, message_id)
);

-- Rows come in order of age, so a few bytes for each 128 pages find the old ones.
CREATE INDEX inbox_key_age ON tecnobot.inbox_key USING brin (accepted_at);

-- Messages that are not done. The table is the queue; a row leaves with the turn that finishes it.
CREATE TABLE tecnobot.inbox (
    chatbot_id text NOT NULL REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    message_id text NOT NULL,
    seq bigint NOT NULL,
    body jsonb NOT NULL,
    -- The call that accepted it, so that a call that is repeated after a lost answer finds its rows.
    nonce text NOT NULL,
    -- The turn that it is a part of, with how many others, once that is decided.
    turn_id text,
    turn_size integer,
    PRIMARY KEY (chatbot_id, message_id)
);

CREATE UNIQUE INDEX inbox_order ON tecnobot.inbox (chatbot_id, seq);
-- Chats whose conversation was due, and is not seen to yet.
CREATE INDEX inbox_due ON tecnobot.inbox (chatbot_id, (body ->> 'chat'))
    WHERE body ->> 'kind' = 'signal' AND body ->> 'text' = 'due';

-- How many messages a chatbot has accepted. Whoever counts holds the row until the end of its transaction, so numbers
-- come without a gap, and whoever sees one sees all before it: a missing number tells the owner that somebody else
-- accepted a message.
CREATE TABLE tecnobot.inbox_end (
    chatbot_id text PRIMARY KEY REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    seq bigint NOT NULL
) WITH (fillfactor = 50);

-- waiting: to be sent; taken: being sent; the others are ends. What ended stays for a while without its body: its key
-- must not be said twice. Half of each page is left free, for the changes of state that every row goes through.
CREATE TABLE tecnobot.outbox (
    chatbot_id text NOT NULL REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    id bigint GENERATED ALWAYS AS IDENTITY,
    key text NOT NULL,
    body jsonb,
    state text NOT NULL CHECK (state IN ('waiting', 'taken', 'sent', 'uncertain', 'rejected', 'expired')),
    nonce text NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chatbot_id, id)
) WITH (fillfactor = 60);

CREATE UNIQUE INDEX outbox_key ON tecnobot.outbox (chatbot_id, key);
-- What is open has a body. Not by its state: then no change of that could stay on its page.
CREATE INDEX outbox_open ON tecnobot.outbox (chatbot_id, id) WHERE body IS NOT NULL;
CREATE INDEX outbox_age ON tecnobot.outbox USING brin (changed_at);

ALTER TABLE tecnobot.lease ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.inbox_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.inbox_end ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.inbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.outbox ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION tecnobot.lease_lock(wanted_chatbot text) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN hashtextextended('tecnobot.lease:' || wanted_chatbot, 0);

-- Become the owner: from now on nobody can write with an older epoch.
CREATE FUNCTION tecnobot.take_lease(wanted_chatbot text, wanted_owner text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    taken bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(tecnobot.lease_lock(wanted_chatbot));
    INSERT INTO tecnobot.lease AS lease (chatbot_id, epoch, owner) VALUES (wanted_chatbot, 1, wanted_owner)
    ON CONFLICT (chatbot_id) DO UPDATE SET
        -- Not again for a call that is repeated after a lost answer.
        epoch = CASE WHEN lease.owner = excluded.owner THEN lease.epoch ELSE lease.epoch + 1 END,
        owner = excluded.owner, taken_at = now()
    RETURNING epoch INTO taken;
    RETURN taken;
END
$$;

-- Everything that one batch writes, in one round trip and one transaction. Repeating a call changes nothing and gives
-- the same answer. Raises TB001 when held_epoch is not the newest and there is more to write than accepted messages.
CREATE FUNCTION tecnobot.deliver(
    wanted_chatbot text, held_epoch bigint, accepted jsonb, claimed jsonb, grouped jsonb, turns jsonb, posted jsonb,
    moved jsonb
) RETURNS TABLE (kind text, nonce text, id bigint, key text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF jsonb_array_length(accepted) > 0 THEN
        PERFORM tecnobot.journal(wanted_chatbot, accepted);
        RETURN QUERY SELECT 'accepted', * FROM tecnobot.journaled(wanted_chatbot, accepted);
    END IF;

    IF jsonb_array_length(claimed) + jsonb_array_length(grouped) + jsonb_array_length(turns)
            + jsonb_array_length(posted) + jsonb_array_length(moved) = 0 THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(tecnobot.lease_lock(wanted_chatbot));
    IF NOT EXISTS (SELECT FROM tecnobot.lease WHERE chatbot_id = wanted_chatbot AND epoch = held_epoch) THEN
        RAISE EXCEPTION 'another process owns chatbot %', wanted_chatbot USING ERRCODE = 'TB001';
    END IF;

    IF jsonb_array_length(claimed) > 0 THEN
        PERFORM tecnobot.claim_due(wanted_chatbot, claimed);
        RETURN QUERY SELECT 'claimed', * FROM tecnobot.journaled(wanted_chatbot, claimed);
    END IF;

    IF jsonb_array_length(grouped) > 0 THEN
        UPDATE tecnobot.inbox SET turn_id = item ->> 'turn_id', turn_size = jsonb_array_length(item -> 'message_ids')
        FROM jsonb_array_elements(grouped) AS item, jsonb_array_elements_text(item -> 'message_ids') AS member (id)
        WHERE inbox.chatbot_id = wanted_chatbot AND inbox.message_id = member.id AND inbox.turn_id IS NULL;
    END IF;

    IF jsonb_array_length(turns) > 0 THEN
        PERFORM tecnobot.finish_turns(wanted_chatbot, turns);
    END IF;

    IF jsonb_array_length(posted) > 0 THEN
        INSERT INTO tecnobot.outbox (chatbot_id, key, body, state, nonce)
        SELECT wanted_chatbot, item ->> 'key', item -> 'body', 'waiting', item ->> 'nonce'
        FROM jsonb_array_elements(posted) WITH ORDINALITY AS given (item, number) ORDER BY number
        ON CONFLICT DO NOTHING;
    END IF;

    RETURN QUERY
        SELECT 'outgoing', outbox.nonce, outbox.id, outbox.key
        FROM (
            SELECT message ->> 'key' AS key, item ->> 'nonce' AS nonce
            FROM jsonb_array_elements(turns) AS item, jsonb_array_elements(item -> 'outgoing') AS message
            UNION ALL
            SELECT item ->> 'key', item ->> 'nonce' FROM jsonb_array_elements(posted) AS item
        ) AS wanted
        -- OFFSET 0: one by one through the index. Otherwise all that was ever sent is read, because the planner takes
        -- the arrays for 10,000 entries.
        CROSS JOIN LATERAL (
            SELECT * FROM tecnobot.outbox
            WHERE outbox.chatbot_id = wanted_chatbot AND outbox.key = wanted.key AND outbox.nonce = wanted.nonce
                AND outbox.state IN ('waiting', 'taken')
            OFFSET 0
        ) AS outbox
        ORDER BY outbox.id;

    UPDATE tecnobot.outbox SET
        state = item ->> 'state',
        body = CASE WHEN item ->> 'state' IN ('waiting', 'taken') THEN body END,
        changed_at = now()
    FROM jsonb_array_elements(moved) AS item
    WHERE outbox.chatbot_id = wanted_chatbot AND outbox.id = (item ->> 'id')::bigint
        AND outbox.state IN ('waiting', 'taken');
END
$$;

-- Keep the messages that are new, and number them.
CREATE FUNCTION tecnobot.journal(wanted_chatbot text, messages jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH incoming AS (
        SELECT DISTINCT ON (item ->> 'id') item ->> 'id' AS message_id, item -> 'body' AS body,
               item ->> 'nonce' AS nonce, number
        FROM jsonb_array_elements(messages) WITH ORDINALITY AS given (item, number)
        ORDER BY item ->> 'id', number
    ), new_key AS (
        -- In one order by everybody, so that two batches cannot wait for each other.
        INSERT INTO tecnobot.inbox_key (chatbot_id, message_id)
        SELECT wanted_chatbot, message_id FROM incoming ORDER BY message_id
        ON CONFLICT DO NOTHING RETURNING message_id
    ), counted AS (
        INSERT INTO tecnobot.inbox_end (chatbot_id, seq)
        SELECT wanted_chatbot, count(*) FROM new_key HAVING count(*) > 0
        ON CONFLICT (chatbot_id) DO UPDATE SET seq = inbox_end.seq + excluded.seq RETURNING seq
    )
    INSERT INTO tecnobot.inbox (chatbot_id, message_id, seq, body, nonce)
    SELECT wanted_chatbot, message_id, seq - count(*) OVER () + row_number() OVER (ORDER BY number), body, nonce
    FROM incoming JOIN new_key USING (message_id), counted;
END
$$;

-- Which of the messages this call has journaled, the first time that it was made or now.
CREATE FUNCTION tecnobot.journaled(wanted_chatbot text, messages jsonb)
RETURNS TABLE (nonce text, seq bigint, message_id text) LANGUAGE sql STABLE AS $$
    SELECT inbox.nonce, inbox.seq, inbox.message_id
    FROM jsonb_array_elements(messages) AS item
    JOIN tecnobot.inbox ON inbox.chatbot_id = wanted_chatbot AND inbox.message_id = item ->> 'id'
        AND inbox.nonce = item ->> 'nonce'
    ORDER BY inbox.seq
$$;

-- Journal a signal for each conversation that is due as it was when it was looked for. Its turn sees to the rest.
CREATE FUNCTION tecnobot.claim_due(wanted_chatbot text, claimed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    signals jsonb;
BEGIN
    WITH taken AS (
        UPDATE tecnobot.conversation SET due_at = NULL
        FROM jsonb_array_elements(claimed) WITH ORDINALITY AS given (item, number)
        WHERE chat_id = (item ->> 'chat_id')::bigint AND due_at = tecnobot.at_us((item ->> 'due_us')::bigint)
        RETURNING item, number
    )
    SELECT jsonb_agg(item ORDER BY number) INTO signals FROM taken;
    IF signals IS NOT NULL THEN
        PERFORM tecnobot.journal(wanted_chatbot, signals);
    END IF;
END
$$;

-- A signal that failed is given again later, unless the conversation has a due time of its own by now.
CREATE FUNCTION tecnobot.postpone(wanted_chatbot text, turns jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tecnobot.conversation SET due_at = tecnobot.at_us(failed.again_us)
    FROM (
        SELECT tecnobot.person(wanted_chatbot, item ->> 'address') AS address, (item ->> 'again_us')::bigint AS again_us
        FROM jsonb_array_elements(turns) AS item
        WHERE item ? 'again_us' AND EXISTS (
            SELECT FROM tecnobot.inbox JOIN jsonb_array_elements_text(item -> 'inbound') AS inbound (id)
                ON inbox.chatbot_id = wanted_chatbot AND inbox.message_id = inbound.id
        )
    ) AS failed
    JOIN tecnobot.chat ON chat.chatbot_id = wanted_chatbot AND chat.phone_number = failed.address
    WHERE conversation.chat_id = chat.id AND conversation.due_at IS NULL;
END
$$;

-- A turn whose messages are done already was stored before; all of it was, so none of it is again.
CREATE FUNCTION tecnobot.finish_turns(wanted_chatbot text, turns jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF turns @? '$[*].again_us' THEN
        PERFORM tecnobot.postpone(wanted_chatbot, turns);
    END IF;

    WITH given AS (
        SELECT item, number FROM jsonb_array_elements(turns) WITH ORDINALITY AS given (item, number)
    ), done AS (
        DELETE FROM tecnobot.inbox
        USING given, jsonb_array_elements_text(item -> 'inbound') AS inbound (message_id)
        WHERE inbox.chatbot_id = wanted_chatbot AND inbox.message_id = inbound.message_id
        RETURNING given.number
    ), turn AS (
        SELECT item, number, tecnobot.person(wanted_chatbot, item ->> 'address') AS address
        FROM given WHERE number IN (SELECT number FROM done)
    ), recorded AS (
        SELECT * FROM turn WHERE (item ->> 'recorded')::boolean
    ), written AS (
        INSERT INTO tecnobot.chat AS chat (chatbot_id, phone_number, welcomed_at)
        SELECT wanted_chatbot, address, max(tecnobot.at_us((item ->> 'welcomed_us')::bigint))
        FROM recorded GROUP BY address ORDER BY address
        ON CONFLICT (chatbot_id, phone_number) DO UPDATE SET
            last_seen = now(), welcomed_at = greatest(chat.welcomed_at, excluded.welcomed_at)
        RETURNING id AS chat_id, phone_number AS address
    ), appended AS (
        INSERT INTO tecnobot.chat_history (chat_id, role, content, tool_calls, tool_call_id, pinned)
        SELECT chat_id, said ->> 'role', said ->> 'content', nullif(said -> 'tool_calls', '[]'),
               said ->> 'tool_call_id', (said ->> 'pinned')::boolean
        FROM recorded JOIN written USING (address),
             jsonb_array_elements(item -> 'history') WITH ORDINALITY AS row (said, place)
        ORDER BY number, place
    ), entered AS (
        INSERT INTO tecnobot.form_record (chatbot_id, form, chat_id, answers, variables, consent, submitted_at)
        SELECT wanted_chatbot, record ->> 'form', chat_id, record -> 'answers', record -> 'variables',
               record ->> 'consent', tecnobot.at_us((record ->> 'submitted_us')::bigint)
        FROM recorded JOIN written USING (address),
             jsonb_array_elements(item -> 'records') WITH ORDINALITY AS row (record, place)
        ORDER BY number, place
    ), standing AS (
        SELECT DISTINCT ON (chat_id) chat_id, item -> 'position' AS position,
               tecnobot.at_us((item ->> 'due_us')::bigint) AS due_at
        FROM recorded JOIN written USING (address) ORDER BY chat_id, number DESC
    ), ended AS (
        DELETE FROM tecnobot.conversation USING standing
        WHERE conversation.chat_id = standing.chat_id AND jsonb_typeof(standing.position) = 'null'
    ), moved AS (
        INSERT INTO tecnobot.conversation (chat_id, chatbot_id, position, due_at)
        SELECT chat_id, wanted_chatbot, position, due_at FROM standing WHERE jsonb_typeof(position) = 'object'
        ON CONFLICT (chat_id) DO UPDATE SET position = excluded.position, due_at = excluded.due_at
    )
    INSERT INTO tecnobot.outbox (chatbot_id, key, body, state, nonce)
    SELECT wanted_chatbot, message ->> 'key', message -> 'body', message ->> 'state', item ->> 'nonce'
    FROM turn, jsonb_array_elements(item -> 'outgoing') WITH ORDINALITY AS row (message, place)
    ORDER BY number, place
    ON CONFLICT DO NOTHING;
END
$$;

REVOKE ALL ON FUNCTION tecnobot.lease_lock, tecnobot.take_lease, tecnobot.deliver, tecnobot.journal, tecnobot.journaled,
    tecnobot.claim_due, tecnobot.postpone, tecnobot.finish_turns FROM PUBLIC;
