-- Copies of the session of an account, so that a machine which keeps no files need not be paired again.

CREATE TABLE tecnobot.session_copy (
    -- In the order in which they came here; the clocks of several machines need not agree.
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chatbot_id text NOT NULL REFERENCES tecnobot.chatbot ON DELETE CASCADE,
    -- Unix seconds in the clock of whoever made it, as double precision, because that comes back as it went.
    taken_at double precision NOT NULL,
    -- Encrypted; the key is not in this database.
    content bytea NOT NULL,
    -- Since when the account does not take it any more; such a copy is kept, and never used.
    revoked_at timestamptz,
    UNIQUE (chatbot_id, taken_at)
);

-- What is encrypted cannot be made smaller.
ALTER TABLE tecnobot.session_copy ALTER COLUMN content SET STORAGE EXTERNAL;

-- No policies: the owner of the table reads and writes, everybody else sees nothing.
ALTER TABLE tecnobot.session_copy ENABLE ROW LEVEL SECURITY;
