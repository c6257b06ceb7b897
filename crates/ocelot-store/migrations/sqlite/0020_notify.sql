-- Who is told of builds: the rules of ocelot.yml, as JSON. Those of the default branch's newest file hold for builds that
-- have none of their own: those of other people's commits, and those whose file cannot be read.
ALTER TABLE repos ADD COLUMN notify TEXT NOT NULL DEFAULT '[]';
ALTER TABLE builds ADD COLUMN notify TEXT;
-- Somebody who administers the whole server kept it so: its addresses may be those of our own network.
ALTER TABLE secrets ADD COLUMN by_admin BOOLEAN NOT NULL DEFAULT false;
-- Of a notification (kind slack, webhook, email; lane `notify:<secret>…`): its rule and the occasion, as JSON.
ALTER TABLE outbox ADD COLUMN notice TEXT;
