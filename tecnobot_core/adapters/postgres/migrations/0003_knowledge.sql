-- What the owner wrote, by paragraphs, for full-text search.

-- Only words: with some locales the parser takes "¿" and emoji for letters.
CREATE FUNCTION tecnobot.spaced(content text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN regexp_replace(
        normalize(content, NFC),
        '[\u0080-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u2000-\u206f\u20a0-\u20cf\u2190-\u2bff'
        '\u3000-\u303f\ufe00-\ufe0f\U0001f000-\U0001faff]+',
        ' ',
        'g'
    );

-- People leave accents out and owners write them, and stemming depends on them: "devolución" and "devoluciones" meet
-- in one stem, "devolucion" stays apart. So the endings that always bear one get it back before stemming.
CREATE FUNCTION tecnobot.accented(language text, content text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE language
        WHEN 'spanish' THEN regexp_replace(content, '(\w[cgsx])ion\M', '\1ión', 'gi')
        WHEN 'portuguese' THEN
            regexp_replace(regexp_replace(content, '(\w)cao\M', '\1ção', 'gi'), '(\w)coes\M', '\1ções', 'gi')
        ELSE content
    END;

-- Immutable, although a cast to regconfig is not: the name is qualified, so it always means the same configuration.
CREATE FUNCTION tecnobot.stems(language text, content text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN to_tsvector(('pg_catalog.' || language)::regconfig, tecnobot.spaced(content));

-- Each word in both forms: stemmed as it is written, and stemmed without accents.
CREATE FUNCTION tecnobot.lexemes(language text, content text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN tecnobot.stems(language, tecnobot.accented(language, content))
        || tecnobot.stems(language, tecnobot.fold(content));

CREATE FUNCTION tecnobot.any_of(lexemes text[]) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''', '|')::tsquery
    FROM unnest(lexemes) AS lexeme;
END;

-- The words of a text that mean something, each as its lexemes. What is a stop word as it is written is left out, also
-- when it is none without its accent.
CREATE FUNCTION tecnobot.words(language text, content text) RETURNS SETOF text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT DISTINCT array_agg(DISTINCT lexeme ORDER BY lexeme)
    FROM (
        SELECT 1 AS form, lexeme, unnest(positions) AS position
        FROM unnest(tecnobot.stems(language, tecnobot.accented(language, content)))
        UNION ALL
        SELECT 2, lexeme, unnest(positions)
        FROM unnest(tecnobot.stems(language, tecnobot.fold(content)))
    ) AS written
    GROUP BY position
    HAVING bool_or(form = 1);
END;

CREATE TABLE tecnobot.knowledge (
    chatbot_id text NOT NULL REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    id bigint GENERATED ALWAYS AS IDENTITY,
    language text NOT NULL CHECK (language IN ('spanish', 'portuguese', 'english')),
    title text NOT NULL,
    body text NOT NULL,
    search tsvector GENERATED ALWAYS AS (
        setweight(tecnobot.lexemes(language, title), 'A') || tecnobot.lexemes(language, body)
    ) STORED,
    PRIMARY KEY (chatbot_id, id)
);

CREATE INDEX knowledge_search ON tecnobot.knowledge USING gin (search);

ALTER TABLE tecnobot.knowledge ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON FUNCTION
    tecnobot.spaced, tecnobot.accented, tecnobot.stems, tecnobot.lexemes, tecnobot.any_of, tecnobot.words
    FROM PUBLIC;
