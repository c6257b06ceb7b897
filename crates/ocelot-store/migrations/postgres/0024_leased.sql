-- At which repositories somebody is, however many webhooks wait.
CREATE INDEX deliveries_leased ON deliveries (leased_until, repo_id) WHERE state = 'waiting';
