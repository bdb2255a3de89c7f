-- What the cache can lose costs no WAL: a crash empties these tables, and so does the promotion of a standby or the
-- restoring of a physical backup. See 0006 for what they hold.

-- A value that is lost is loaded again. Emptied first, so that nothing is copied, however much is there; the values of a
-- cache may go at any time. In place, so that rights and views which an owner added stay.
TRUNCATE tecnobot.cache;
ALTER TABLE tecnobot.cache SET UNLOGGED;

-- A lease that is lost lets another process load what one is loading already: once more, after a crash. Leases that are
-- held now go on.
ALTER TABLE tecnobot.cache_lease SET UNLOGGED;

-- Marks must outlive every crash: what began to load before one may be written after the crash, and must not count.
-- Where an owner made them unlogged as well, they are logged again; otherwise this does nothing.
ALTER TABLE tecnobot.cache_mark SET LOGGED;
