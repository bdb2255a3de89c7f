-- What the cache keeps between processes: values, what was invalidated, and who loads.
--
-- Logged: after a crash the server removes the files of unlogged tables first, and where it cannot (a folder without
-- write permission) it stays in recovery for ever, although everything else is whole. An owner whose server is safe from
-- that spares the disk with ALTER TABLE ... SET UNLOGGED for cache, never for cache_mark alone: values without their
-- marks would come back after they were invalidated.
--
-- Times are Unix seconds in the server's clock, as double precision, because that is what comes back as it went.

CREATE TABLE tecnobot.cache (
    -- A digest; what it is of is not kept.
    key bytea PRIMARY KEY,
    data bytea NOT NULL,
    loaded_at double precision NOT NULL,
    -- Infinity: until it is deleted.
    expires_at double precision NOT NULL,
    -- Digests of what can erase it. No index: that would cost each write more than the rare erasing saves.
    tags bytea[] NOT NULL DEFAULT '{}'
);

-- Values come compressed where it pays.
ALTER TABLE tecnobot.cache ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE INDEX cache_expires_at ON tecnobot.cache (expires_at);

CREATE TABLE tecnobot.cache_mark (
    tag bytea PRIMARY KEY,
    -- Records with the tag whose loading began before it do not count.
    at double precision NOT NULL,
    -- The transaction that noted it: whoever knows the marks of a snapshot asks for those that were not in it.
    noted_in xid8 NOT NULL DEFAULT pg_current_xact_id()
);

-- What is new is asked for by every process after each mark: of 60,000 in 0.2 ms instead of 8.
CREATE INDEX cache_mark_noted_in ON tecnobot.cache_mark (noted_in);

CREATE TABLE tecnobot.cache_lease (
    key bytea PRIMARY KEY,
    holder bytea NOT NULL,
    until double precision NOT NULL,
    -- Whether somebody wants to be told when it is given back.
    is_awaited boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- No policies: the owner of the tables reads and writes, everybody else sees nothing.
ALTER TABLE tecnobot.cache ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.cache_mark ENABLE ROW LEVEL SECURITY;
ALTER TABLE tecnobot.cache_lease ENABLE ROW LEVEL SECURITY;
