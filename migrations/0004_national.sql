-- What the import of the national extractions keeps for itself.

-- Fingerprint of what was published of a row: tells a changed one without reading it
-- anew. from_activity: read in the activity file; the others were only seen beside a BAL.
ALTER TABLE listing_own ADD sum bigint NOT NULL DEFAULT 0;
ALTER TABLE listing_a ADD sum bigint NOT NULL DEFAULT 0;
ALTER TABLE listing_b ADD sum bigint NOT NULL DEFAULT 0;
ALTER TABLE practitioner_own ADD from_activity boolean NOT NULL DEFAULT false, ADD sum bigint NOT NULL DEFAULT 0;
ALTER TABLE practitioner_a ADD from_activity boolean NOT NULL DEFAULT false, ADD sum bigint NOT NULL DEFAULT 0;
ALTER TABLE practitioner_b ADD from_activity boolean NOT NULL DEFAULT false, ADD sum bigint NOT NULL DEFAULT 0;
ALTER TABLE organization_own ADD from_activity boolean NOT NULL DEFAULT false, ADD sum bigint NOT NULL DEFAULT 0;
ALTER TABLE organization_a ADD from_activity boolean NOT NULL DEFAULT false, ADD sum bigint NOT NULL DEFAULT 0;
ALTER TABLE organization_b ADD from_activity boolean NOT NULL DEFAULT false, ADD sum bigint NOT NULL DEFAULT 0;
ALTER TABLE role_own ADD from_activity boolean NOT NULL DEFAULT false, ADD sum bigint NOT NULL DEFAULT 0;
ALTER TABLE role_a ADD from_activity boolean NOT NULL DEFAULT false, ADD sum bigint NOT NULL DEFAULT 0;
ALTER TABLE role_b ADD from_activity boolean NOT NULL DEFAULT false, ADD sum bigint NOT NULL DEFAULT 0;

-- A part is written whole, frozen and analysed by the import, then only read: there is
-- nothing to vacuum, and a vacuum would stand in the way of the next import.
ALTER TABLE listing_a SET (autovacuum_enabled = off);
ALTER TABLE listing_b SET (autovacuum_enabled = off);
ALTER TABLE practitioner_a SET (autovacuum_enabled = off);
ALTER TABLE practitioner_b SET (autovacuum_enabled = off);
ALTER TABLE organization_a SET (autovacuum_enabled = off);
ALTER TABLE organization_b SET (autovacuum_enabled = off);
ALTER TABLE role_a SET (autovacuum_enabled = off);
ALTER TABLE role_b SET (autovacuum_enabled = off);
ALTER TABLE word_a SET (autovacuum_enabled = off);
ALTER TABLE word_b SET (autovacuum_enabled = off);

ALTER TABLE national_import
	ADD ours     bigint NOT NULL DEFAULT 0,      -- lines of our own domains: the register is the truth
	ADD forced   boolean NOT NULL DEFAULT false, -- the guards were put aside
	ADD ended    bigint NOT NULL DEFAULT 0,      -- persons of the register whose exercise ended
	ADD restored bigint NOT NULL DEFAULT 0,      -- persons of the register who are back
	ADD unknown  bigint NOT NULL DEFAULT 0;      -- persons of the register never seen in the file

-- Who writes the idle part, and whether it holds a whole edition that waits for its
-- indexes and its turn.
CREATE TABLE national_stage (
	one       boolean PRIMARY KEY DEFAULT true CHECK (one),
	import_id bigint NOT NULL REFERENCES national_import ON DELETE CASCADE,
	owner     bytea NOT NULL,            -- of one run of one process
	part      text NOT NULL,
	edition   bigint NOT NULL,           -- that was read when it was begun
	staged    boolean NOT NULL DEFAULT false
);

-- The last look at the source of each extraction.
CREATE TABLE national_source (
	dataset    text PRIMARY KEY CHECK (dataset IN ('correspondance', 'activite')),
	checked_at timestamptz NOT NULL,     -- last try, whatever it gave
	failures   int NOT NULL DEFAULT 0    -- in a row
);

-- Persons whose exercise the import ended: only those does it bring back.
CREATE TABLE national_ended (
	person_id bigint PRIMARY KEY REFERENCES person ON DELETE CASCADE,
	ended_at  timestamptz NOT NULL
);
ALTER TABLE situation
	ADD seen_at timestamptz,             -- last seen in the national extraction
	ADD gone_at timestamptz;             -- ended because it was seen there no more
