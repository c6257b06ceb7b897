-- The branch that a pull request goes to. A version before this one leaves it empty; so do branches and tags.
ALTER TABLE delivery_parts ADD COLUMN target TEXT;
-- When the last look began that saw all open pull requests.
ALTER TABLE reconciled ADD COLUMN pulls_at BIGINT;
