-- Certificates (PEM) of the authorities that a forge is believed with, besides the usual ones.
ALTER TABLE forges ADD COLUMN ca TEXT;
