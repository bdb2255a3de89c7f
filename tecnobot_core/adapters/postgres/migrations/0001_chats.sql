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
    -- Flow, step, version, variables, callers, and what the step waits for.
    position jsonb NOT NULL
) WITH (fillfactor = 70);

-- No policies: the owner of the tables reads and writes, everybody else sees nothing.
ALTER TABLE tecnobot.chatbot ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.chat ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.chat_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.conversation ENABLE ROW LEVEL SECURITY;
