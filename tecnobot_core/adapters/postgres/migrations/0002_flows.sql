-- Flows, their version for those who hold them in memory, and the owner's search box.

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA tecnobot;

-- Small letters without accents, from immutable functions only (unaccent is not), so that indexes may use it.
CREATE FUNCTION tecnobot.fold(content text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN lower(regexp_replace(normalize(content, NFKD), '[\u0300-\u036f]', '', 'g'));

-- array_to_string is only STABLE, because of element types that print by the session's settings; text does not.
CREATE FUNCTION tecnobot.keywords_text(keywords text[]) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN tecnobot.fold(array_to_string(keywords, ' '));

CREATE TABLE tecnobot.bot_flows (
    chatbot_id text NOT NULL REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    id text NOT NULL,
    keywords text[] NOT NULL DEFAULT '{}' CHECK (array_position(keywords, NULL) IS NULL),
    response jsonb NOT NULL,
    priority integer NOT NULL DEFAULT 0,
    is_active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (chatbot_id, id)
);

ALTER TABLE tecnobot.bot_flows ENABLE ROW LEVEL SECURITY;

-- pg_trgm may live in a schema of the owner's choice already, so its names are put in here, once.
DO $setup$
DECLARE
    trgm text := (
        SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
        WHERE extname = 'pg_trgm'
    );
BEGIN
    EXECUTE format(
        'CREATE INDEX bot_flows_keywords ON tecnobot.bot_flows
             USING gin (tecnobot.keywords_text(keywords) %s.gin_trgm_ops)',
        trgm
    );
    -- Inlined into the query that calls it: STABLE, not STRICT, one SELECT, no settings.
    EXECUTE replace(
        $function$
        CREATE FUNCTION tecnobot.flows_about(wanted_chatbot text, wanted text, pattern text, at_most integer)
            RETURNS SETOF tecnobot.bot_flows LANGUAGE sql STABLE PARALLEL SAFE
        BEGIN ATOMIC
            SELECT * FROM tecnobot.bot_flows AS flow
            WHERE flow.chatbot_id = wanted_chatbot AND flow.is_active
              AND (
                  tecnobot.keywords_text(flow.keywords) LIKE tecnobot.fold(pattern)
                  OR tecnobot.keywords_text(flow.keywords) OPERATOR(TRGM.%>) tecnobot.fold(wanted)
              )
            ORDER BY
                tecnobot.keywords_text(flow.keywords) LIKE tecnobot.fold(pattern) DESC,
                TRGM.word_similarity(tecnobot.fold(wanted), tecnobot.keywords_text(flow.keywords)) DESC,
                flow.id
            LIMIT at_most;
        END
        $function$,
        'TRGM',
        trgm
    );
END
$setup$;

-- The row of the chatbot is locked until the writer commits, so whoever reads a version reads at least its flows.
CREATE FUNCTION tecnobot.bump_flows_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE tecnobot.chatbot SET flows_version = flows_version + 1;
    ELSIF TG_OP = 'UPDATE' THEN
        UPDATE tecnobot.chatbot SET flows_version = flows_version + 1
        WHERE id IN (SELECT chatbot_id FROM before_change UNION SELECT chatbot_id FROM after_change);
    ELSIF TG_OP = 'INSERT' THEN
        UPDATE tecnobot.chatbot SET flows_version = flows_version + 1
        WHERE id IN (SELECT chatbot_id FROM after_change);
    ELSE
        UPDATE tecnobot.chatbot SET flows_version = flows_version + 1
        WHERE id IN (SELECT chatbot_id FROM before_change);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER flows_inserted AFTER INSERT ON tecnobot.bot_flows
    REFERENCING NEW TABLE AS after_change
    FOR EACH STATEMENT EXECUTE FUNCTION tecnobot.bump_flows_version();
CREATE TRIGGER flows_updated AFTER UPDATE ON tecnobot.bot_flows
    REFERENCING OLD TABLE AS before_change NEW TABLE AS after_change
    FOR EACH STATEMENT EXECUTE FUNCTION tecnobot.bump_flows_version();
CREATE TRIGGER flows_deleted AFTER DELETE ON tecnobot.bot_flows
    REFERENCING OLD TABLE AS before_change
    FOR EACH STATEMENT EXECUTE FUNCTION tecnobot.bump_flows_version();
CREATE TRIGGER flows_truncated AFTER TRUNCATE ON tecnobot.bot_flows
    FOR EACH STATEMENT EXECUTE FUNCTION tecnobot.bump_flows_version();

REVOKE ALL ON FUNCTION tecnobot.fold, tecnobot.keywords_text, tecnobot.flows_about, tecnobot.bump_flows_version
    FROM PUBLIC;
