-- Number of a pull request to the time from when on something told of it is about what becomes of it now: for one that is open
-- since it was told of as it is, for one that was closed the last look that saw it open. A version before this one leaves it as it was.
ALTER TABLE reconciled ADD COLUMN pulls_since TEXT;
