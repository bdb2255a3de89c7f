-- Flows, every version that they had, what tells of their changes, and the owner's search box.

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
    -- The chatbot's flows_version after the statement that changed the row last, and after the one that changed its
    -- response. Triggers set them, whatever is written here.
    revision bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (chatbot_id, id)
);

-- Each response that a flow ever had. A conversation goes on in the version in which it began.
CREATE TABLE tecnobot.flow_version (
    chatbot_id text NOT NULL REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    flow_id text NOT NULL,
    version bigint NOT NULL,
    response jsonb NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    -- Since when the flow is another one, or gone.
    retired_at timestamptz,
    PRIMARY KEY (chatbot_id, flow_id, version)
);

ALTER TABLE tecnobot.bot_flows ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.flow_version ENABLE ROW LEVEL SECURITY;

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

-- The row of the chatbot is locked until the writer commits. So its numbers are committed in their order: whoever reads
-- a flows_version reads all rows up to it, and no number is given twice.
CREATE FUNCTION tecnobot.number_flow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    next bigint := (SELECT flows_version + 1 FROM tecnobot.chatbot WHERE id = NEW.chatbot_id FOR NO KEY UPDATE);
BEGIN
    NEW.revision := coalesce(next, 0);  -- without a chatbot the row is refused later, with a better reason
    IF TG_OP = 'UPDATE' AND (OLD.chatbot_id, OLD.id, OLD.response) = (NEW.chatbot_id, NEW.id, NEW.response) THEN
        NEW.version := OLD.version;
    ELSE
        NEW.version := NEW.revision;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER flow_numbered BEFORE INSERT OR UPDATE ON tecnobot.bot_flows
    FOR EACH ROW EXECUTE FUNCTION tecnobot.number_flow();

CREATE FUNCTION tecnobot.note_flows_change() RETURNS trigger LANGUAGE plpgsql AS $note$
DECLARE
    changed text[];
BEGIN
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        changed := ARRAY(SELECT DISTINCT chatbot_id FROM after_change);
        INSERT INTO tecnobot.flow_version (chatbot_id, flow_id, version, response)
        SELECT chatbot_id, id, version, response FROM after_change
        ON CONFLICT DO NOTHING;  -- where what changed is not the response
    END IF;
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        changed := changed || ARRAY(SELECT DISTINCT chatbot_id FROM before_change);
        -- Planned each time: the plan that a session made for one row takes seconds for thousands.
        EXECUTE $retire$
            UPDATE tecnobot.flow_version AS kept SET retired_at = now() FROM before_change AS before
            WHERE (kept.chatbot_id, kept.flow_id, kept.version) = (before.chatbot_id, before.id, before.version)
              AND NOT EXISTS (
                  SELECT FROM tecnobot.bot_flows AS flow
                  WHERE (flow.chatbot_id, flow.id, flow.version) = (before.chatbot_id, before.id, before.version)
              )
        $retire$;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        changed := ARRAY(SELECT id FROM tecnobot.chatbot);
        UPDATE tecnobot.flow_version SET retired_at = now() WHERE retired_at IS NULL;
    END IF;
    UPDATE tecnobot.chatbot SET flows_version = flows_version + 1 WHERE id = ANY (changed);
    RETURN NULL;
END
$note$;

CREATE TRIGGER flows_inserted AFTER INSERT ON tecnobot.bot_flows
    REFERENCING NEW TABLE AS after_change
    FOR EACH STATEMENT EXECUTE FUNCTION tecnobot.note_flows_change();
CREATE TRIGGER flows_updated AFTER UPDATE ON tecnobot.bot_flows
    REFERENCING OLD TABLE AS before_change NEW TABLE AS after_change
    FOR EACH STATEMENT EXECUTE FUNCTION tecnobot.note_flows_change();
CREATE TRIGGER flows_deleted AFTER DELETE ON tecnobot.bot_flows
    REFERENCING OLD TABLE AS before_change
    FOR EACH STATEMENT EXECUTE FUNCTION tecnobot.note_flows_change();
CREATE TRIGGER flows_truncated AFTER TRUNCATE ON tecnobot.bot_flows
    FOR EACH STATEMENT EXECUTE FUNCTION tecnobot.note_flows_change();

CREATE FUNCTION tecnobot.refuse_other_content() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE restrict_violation USING
        MESSAGE = format(
            'version %s of the flow "%s" cannot be changed: conversations stand on it', OLD.version, OLD.flow_id
        ),
        HINT = 'Change the flow in tecnobot.bot_flows, which makes a new version.';
END
$$;

CREATE TRIGGER version_is_immutable BEFORE UPDATE ON tecnobot.flow_version
    FOR EACH ROW WHEN (
        (OLD.chatbot_id, OLD.flow_id, OLD.version, OLD.response, OLD.made_at)
        IS DISTINCT FROM (NEW.chatbot_id, NEW.flow_id, NEW.version, NEW.response, NEW.made_at)
    ) EXECUTE FUNCTION tecnobot.refuse_other_content();

-- "17 shop": the version, and the chatbot. Without a chatbot, whose id is too long for a notification, it may be any.
CREATE FUNCTION tecnobot.tell_flows_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(
        'tecnobot_flows', NEW.flows_version || ' ' || CASE WHEN octet_length(NEW.id) < 7900 THEN NEW.id ELSE '' END
    );
    RETURN NULL;
END
$$;

CREATE TRIGGER flows_version_told AFTER UPDATE OF flows_version ON tecnobot.chatbot
    FOR EACH ROW EXECUTE FUNCTION tecnobot.tell_flows_version();

REVOKE ALL ON FUNCTION
    tecnobot.fold, tecnobot.keywords_text, tecnobot.flows_about, tecnobot.number_flow,
    tecnobot.note_flows_change, tecnobot.refuse_other_content, tecnobot.tell_flows_version
    FROM PUBLIC;
