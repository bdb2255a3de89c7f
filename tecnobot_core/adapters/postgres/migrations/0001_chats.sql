-- Chatbots, the chats that each of them holds, and where every conversation stands.

CREATE TABLE tecnobot.chatbot (
    id text PRIMARY KEY,
    name text NOT NULL DEFAULT '',
    language text NOT NULL DEFAULT 'spanish',
    -- Bumped by triggers with every change of the chatbot's flows.
    flows_version bigint NOT NULL DEFAULT 0,
    settings jsonb NOT NULL DEFAULT '{}'
);

-- Room is left on the pages of chat and conversation, so that the update that each turn makes touches no index.
CREATE TABLE tecnobot.chat (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chatbot_id text NOT NULL REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    -- The opaque address of the chat; with WhatsApp, a phone number.
    phone_number text NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(),
    welcomed_at timestamptz,
    UNIQUE (chatbot_id, phone_number)
) WITH (fillfactor = 80);

-- The key holds a chat's rows together and in order: the last five are one descent of the index.
CREATE TABLE tecnobot.chat_history (
    chat_id bigint NOT NULL REFERENCES tecnobot.chat ON DELETE CASCADE,
    id bigint GENERATED ALWAYS AS IDENTITY,
    role text NOT NULL CHECK (role IN ('system', 'user', 'assistant', 'tool')),
    content text NOT NULL,
    tool_calls jsonb,
    tool_call_id text,
    pinned boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chat_id, id)
);

CREATE INDEX chat_history_pinned ON tecnobot.chat_history (chat_id, id) WHERE pinned;

CREATE TABLE tecnobot.conversation (
    chat_id bigint PRIMARY KEY REFERENCES tecnobot.chat ON DELETE CASCADE,
    chatbot_id text NOT NULL REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    -- Flow, step, version, variables, callers, and what the step waits for.
    position jsonb NOT NULL,
    -- When something is to be done if nobody writes: a reminder, or time is over. NULL: never, or it is being done.
    due_at timestamptz
) WITH (fillfactor = 70);

CREATE INDEX conversation_due ON tecnobot.conversation (chatbot_id, due_at) WHERE due_at IS NOT NULL;

-- What people entered into forms. It goes with the chat.
CREATE TABLE tecnobot.form_record (
    chatbot_id text NOT NULL REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    form text NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    chat_id bigint NOT NULL REFERENCES tecnobot.chat ON DELETE CASCADE,
    answers jsonb NOT NULL,
    -- The names in the order of the form, which jsonb does not keep.
    variables jsonb NOT NULL DEFAULT '[]',
    -- The words that the person agreed to; empty: nothing was asked.
    consent text NOT NULL,
    submitted_at timestamptz NOT NULL,
    PRIMARY KEY (chatbot_id, form, id)
);

CREATE INDEX form_record_chat ON tecnobot.form_record (chat_id);

-- Times come and go as whole microseconds since 1970: no float between holds all of them.
CREATE FUNCTION tecnobot.at_us(us bigint) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
    RETURN timestamptz '1970-01-01 00:00:00+00' + us * interval '1 microsecond';

CREATE FUNCTION tecnobot.us_of(at timestamptz) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (extract(epoch FROM at) * 1000000)::bigint;

REVOKE ALL ON FUNCTION tecnobot.at_us, tecnobot.us_of FROM PUBLIC;

-- No policies: the owner of the tables reads and writes, everybody else sees nothing.
ALTER TABLE tecnobot.chatbot ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.chat ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.chat_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.conversation ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.form_record ENABLE ROW LEVEL SECURITY;
