-- Other addresses of the people whose chats are held.

CREATE TABLE tecnobot.chat_alias (
    chatbot_id text NOT NULL REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    alias text NOT NULL,
    -- The address under which the person's chat is held, whether or not it exists yet.
    phone_number text NOT NULL,
    -- When the person wrote from here; NULL: it was only named.
    seen_at timestamptz,
    PRIMARY KEY (chatbot_id, alias)
);

CREATE INDEX chat_alias_person ON tecnobot.chat_alias (chatbot_id, phone_number, seen_at);

ALTER TABLE tecnobot.chat_alias ENABLE ROW LEVEL SECURITY;

-- Whose address it is, until the end of the transaction. Whoever writes to a chat asks here first: it holds the lock of
-- the lease in shared mode, and whoever links addresses in exclusive mode, so that nothing is written to a chat which
-- another one takes in. Each of both takes that lock before rows, so they cannot wait for each other.
CREATE FUNCTION tecnobot.person(wanted_chatbot text, address text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(tecnobot.lease_lock(wanted_chatbot));
    RETURN coalesce(
        (SELECT phone_number FROM tecnobot.chat_alias WHERE chatbot_id = wanted_chatbot AND alias = address), address
    );
END
$$;

-- Keep which addresses came up: each as an alias of a person, NULL for whoever has it, and whether it was written from.
-- What is held under an alias moves to its person. Answers whose each alias is; repeating a call changes nothing.
CREATE FUNCTION tecnobot.learn_aliases(wanted_chatbot text, aliases text[], people text[], wrote boolean[])
RETURNS TABLE (alias text, phone_number text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF tecnobot.is_news(wanted_chatbot, aliases, people, wrote) THEN
        PERFORM pg_advisory_xact_lock(tecnobot.lease_lock(wanted_chatbot));
        INSERT INTO tecnobot.chat_alias AS kept (chatbot_id, alias, phone_number, seen_at)
        SELECT wanted_chatbot, seen.alias, coalesce(person, known.phone_number),
               CASE WHEN wrote THEN now() + number * interval '1 microsecond' END
        FROM unnest(aliases, people, wrote) WITH ORDINALITY AS seen (alias, person, wrote, number)
        LEFT JOIN tecnobot.chat_alias AS known ON known.chatbot_id = wanted_chatbot AND known.alias = seen.alias
        WHERE coalesce(person, known.phone_number) IS NOT NULL
        ON CONFLICT (chatbot_id, alias) DO UPDATE SET
            phone_number = excluded.phone_number, seen_at = coalesce(excluded.seen_at, kept.seen_at);
        PERFORM tecnobot.merge_chats(wanted_chatbot, aliases);
    END IF;
    RETURN QUERY
        SELECT known.alias, known.phone_number FROM tecnobot.chat_alias AS known
        WHERE known.chatbot_id = wanted_chatbot AND known.alias = ANY (aliases);
END
$$;

-- Whether there is anything to keep. Most often there is not, and then nobody must wait.
CREATE FUNCTION tecnobot.is_news(wanted_chatbot text, aliases text[], people text[], wrote boolean[])
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM unnest(aliases, people, wrote) AS seen (alias, person, wrote)
        LEFT JOIN tecnobot.chat_alias AS known ON known.chatbot_id = wanted_chatbot AND known.alias = seen.alias
        WHERE CASE
            WHEN known.alias IS NULL OR person <> known.phone_number THEN person IS NOT NULL
            ELSE seen.wrote AND (known.seen_at IS NULL OR EXISTS (
                SELECT FROM tecnobot.chat_alias AS other
                WHERE other.chatbot_id = wanted_chatbot AND other.phone_number = known.phone_number
                    AND other.seen_at > known.seen_at
            ))
        END
    )
$$;

-- Move what is held under aliases to their people. Rows keep their ids, which are in the order of time over all chats;
-- of two positions the person's own stays.
CREATE FUNCTION tecnobot.merge_chats(wanted_chatbot text, aliases text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    source record;
    target bigint;
BEGIN
    FOR source IN
        SELECT chat.id, chat.first_seen, chat.last_seen, chat.welcomed_at, known.phone_number AS person
        FROM tecnobot.chat_alias AS known
        JOIN tecnobot.chat ON chat.chatbot_id = wanted_chatbot AND chat.phone_number = known.alias
        WHERE known.chatbot_id = wanted_chatbot AND known.alias = ANY (aliases) AND known.alias <> known.phone_number
        ORDER BY known.alias
    LOOP
        INSERT INTO tecnobot.chat AS chat (chatbot_id, phone_number, first_seen, last_seen, welcomed_at)
        VALUES (wanted_chatbot, source.person, source.first_seen, source.last_seen, source.welcomed_at)
        ON CONFLICT (chatbot_id, phone_number) DO UPDATE SET
            first_seen = least(chat.first_seen, excluded.first_seen),
            last_seen = greatest(chat.last_seen, excluded.last_seen),
            welcomed_at = greatest(chat.welcomed_at, excluded.welcomed_at)
        RETURNING id INTO target;
        UPDATE tecnobot.chat_history SET chat_id = target WHERE chat_id = source.id;
        UPDATE tecnobot.form_record SET chat_id = target WHERE chat_id = source.id;
        UPDATE tecnobot.conversation SET chat_id = target WHERE chat_id = source.id
            AND NOT EXISTS (SELECT FROM tecnobot.conversation WHERE chat_id = target);
        DELETE FROM tecnobot.chat WHERE id = source.id;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION tecnobot.person, tecnobot.learn_aliases, tecnobot.is_news, tecnobot.merge_chats FROM PUBLIC;
