-- What the national directory is told of our BAL (mssante.md §9), and what it answers.

-- One row per BAL of PER, ORG, APP or CAB: what the directory has of it, and whether that
-- is what the register says. Nothing is lost when several changes come before one is sent.
CREATE TABLE publication (
	bal_id      bigint PRIMARY KEY REFERENCES bal,
	revision    bigint NOT NULL DEFAULT 1,  -- rises at each change of the register
	state       text NOT NULL CHECK (state IN ('waiting', 'told', 'parked')),
	published   jsonb,                      -- what it has, and on which resource; NULL: nothing
	tried       jsonb,                      -- what was last sent, while its outcome is not known
	attempts    int NOT NULL DEFAULT 0,     -- in vain, since the last that was not
	next_at     timestamptz NOT NULL,
	lease_until timestamptz,
	changed_at  timestamptz NOT NULL,       -- of the register
	told_at     timestamptz,                -- last told something
	status      int NOT NULL DEFAULT 0,     -- of the last refusal or failure: HTTP, 0 for none
	cause       text NOT NULL DEFAULT '',   -- its code: of an OperationOutcome, or ours
	cause_text  text NOT NULL DEFAULT ''    -- what the directory said of it
);
CREATE INDEX ON publication (next_at) WHERE state = 'waiting';
CREATE INDEX ON publication (bal_id) WHERE state = 'parked';

-- What was told, and how it ended.
CREATE TABLE publication_step (
	id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	bal_id    bigint NOT NULL REFERENCES bal,
	at        timestamptz NOT NULL,
	operation text NOT NULL CHECK (operation IN ('insert', 'replace', 'delete', 'found')),
	outcome   text NOT NULL CHECK (outcome IN ('done', 'refused')),
	status    int NOT NULL DEFAULT 0,
	cause     text NOT NULL DEFAULT ''
);
CREATE INDEX ON publication_step (bal_id, id);
CREATE INDEX ON publication_step (at);

-- The daily files, and the reports that came back.
CREATE TABLE publication_file (
	id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name        text NOT NULL UNIQUE,       -- of the ZIP, without its folder
	made_at     timestamptz NOT NULL,
	sha256      bytea NOT NULL,
	lines       int NOT NULL,
	placed_at   timestamptz,                -- in its folder, whole; NULL: not yet, or never
	reported_at timestamptz,
	accepted    int NOT NULL DEFAULT 0,
	refused     int NOT NULL DEFAULT 0
);

CREATE TABLE publication_line (
	file_id bigint NOT NULL REFERENCES publication_file ON DELETE CASCADE,
	line    int NOT NULL,                   -- 2 is the first after the header
	bal_id  bigint NOT NULL REFERENCES bal,
	outcome text NOT NULL DEFAULT '' CHECK (outcome IN ('', 'accepted', 'refused')),
	cause   text NOT NULL DEFAULT '',
	cause_text text NOT NULL DEFAULT '',
	PRIMARY KEY (file_id, line)
);
CREATE INDEX ON publication_line (bal_id, file_id);
