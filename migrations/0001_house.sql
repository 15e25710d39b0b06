-- The first house. Each room owns the tables under its heading and only that room's
-- sql names them. What tells about a person is sealed (…_sealed, packet, meta) or a
-- keyed hash (…_key, HMAC-SHA-256 under the operator's index key); ids are opaque.

-- seal: who holds a key. A holder is a BAL, a dossier, or one of the house's own
-- duties (relay, ingest, register). Its private halves are locked with the holder's
-- secret, and slots hold that secret under one wrapping key each.
CREATE TABLE seal_holder (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	purpose    text NOT NULL CHECK (purpose IN ('bal', 'dossier', 'relay', 'ingest', 'register')),
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX ON seal_holder (purpose) WHERE purpose IN ('relay', 'ingest', 'register');

CREATE TABLE seal_key (
	holder_id  bigint NOT NULL REFERENCES seal_holder,
	generation int NOT NULL CHECK (generation > 0),
	public     bytea NOT NULL,
	private    bytea NOT NULL,  -- locked with the holder's secret
	created_at timestamptz NOT NULL DEFAULT now(),
	retired_at timestamptz,     -- new letters use the newest key not retired
	PRIMARY KEY (holder_id, generation)
);

CREATE TABLE seal_slot (
	holder_id  bigint NOT NULL REFERENCES seal_holder,
	kind       text NOT NULL CHECK (kind IN ('server', 'app-password', 'passkey', 'recovery')),
	ref        text NOT NULL DEFAULT '',  -- which password, which passkey
	wrap_key   text NOT NULL,             -- id of the wrapping key
	wrapped    bytea NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (holder_id, kind, ref)
);

-- directory: structures, persons and BAL, shaped for the national import
-- (mssante.md §3, §4.2). Professional data are public; a patient's are not.
CREATE TABLE structure (
	id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	finess      text UNIQUE,
	siret       text UNIQUE,
	name        text NOT NULL,
	trade_name  text NOT NULL DEFAULT '',
	sector      text NOT NULL DEFAULT '',  -- TRE_R02, SA…
	street      text NOT NULL DEFAULT '',
	postal_code text NOT NULL DEFAULT '',
	city        text NOT NULL DEFAULT '',
	country     text NOT NULL DEFAULT 'FR',
	ended_at    timestamptz
);

CREATE TABLE person (
	id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	rpps        text UNIQUE,
	civility    text NOT NULL DEFAULT '',
	family_name text NOT NULL,
	given_name  text NOT NULL,
	profession  text NOT NULL DEFAULT '',  -- TRE_G15
	know_how    text NOT NULL DEFAULT '',  -- savoir-faire, TRE_R38 and following
	ended_at    timestamptz
);

CREATE TABLE situation (  -- an activity of a person in a structure
	id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	person_id    bigint NOT NULL REFERENCES person,
	structure_id bigint REFERENCES structure,
	mode         text NOT NULL DEFAULT '',  -- mode d'exercice: L, S, B
	started_at   timestamptz NOT NULL DEFAULT now(),
	ended_at     timestamptz
);
CREATE INDEX ON situation (person_id);

CREATE TABLE bal (
	id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	address_key   bytea NOT NULL UNIQUE,
	address       text,              -- NULL for a patient: the INS is in it
	kind          text NOT NULL CHECK (kind IN ('PER', 'ORG', 'APP', 'CAB', 'PATIENT')),
	state         text NOT NULL CHECK (state IN ('pending', 'active', 'suspended', 'closed', 'purged')),
	holder_id     bigint NOT NULL REFERENCES seal_holder,
	person_id     bigint REFERENCES person,
	structure_id  bigint REFERENCES structure,
	display_name  text NOT NULL DEFAULT '',  -- professionals only
	service       text NOT NULL DEFAULT '',
	description   text NOT NULL DEFAULT '',
	responsible   text NOT NULL DEFAULT '',
	unlisted      boolean NOT NULL DEFAULT false,
	rank          int NOT NULL DEFAULT 1,
	open_to_patients boolean NOT NULL DEFAULT false,  -- a pharmacy, or a box declared open
	quota_size    bigint NOT NULL DEFAULT 0,          -- octets; 0 is the operator's default
	cgu_version   text NOT NULL DEFAULT '',
	cgu_at        timestamptz,
	created_at    timestamptz NOT NULL DEFAULT now(),
	state_at      timestamptz NOT NULL DEFAULT now(),
	CHECK ((kind = 'PATIENT') = (address IS NULL)),
	CHECK (kind <> 'PATIENT' OR display_name = '')
);
CREATE INDEX ON bal (person_id);
CREATE INDEX ON bal (structure_id);

-- identity: who signs in, with what, and to which BAL.
CREATE TABLE account (
	id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	kind           text NOT NULL CHECK (kind IN ('professional', 'patient', 'application', 'operator')),
	login_key      bytea UNIQUE,     -- of the login a person types
	password_hash  text,             -- argon2id, PHC string
	totp_sealed    bytea,            -- under the register's key
	totp_last_step bigint NOT NULL DEFAULT 0,
	disabled_at    timestamptz,
	created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE account_bal (
	account_id bigint NOT NULL REFERENCES account,
	bal_id     bigint NOT NULL REFERENCES bal,
	PRIMARY KEY (account_id, bal_id)
);
CREATE INDEX ON account_bal (bal_id);

CREATE TABLE app_password (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	account_id bigint NOT NULL REFERENCES account,
	bal_id     bigint NOT NULL REFERENCES bal,
	label      text NOT NULL,
	secret_mac bytea NOT NULL UNIQUE,  -- HMAC: the secret is ours and has 100 bits or more
	created_at timestamptz NOT NULL DEFAULT now(),
	last_at    timestamptz,
	revoked_at timestamptz
);
CREATE INDEX ON app_password (bal_id);

CREATE TABLE client_certificate (
	fingerprint bytea PRIMARY KEY,  -- SHA-256 of the certificate
	account_id  bigint NOT NULL REFERENCES account,
	bal_id      bigint NOT NULL REFERENCES bal,
	created_at  timestamptz NOT NULL DEFAULT now(),
	revoked_at  timestamptz
);

CREATE TABLE web_session (
	token_mac  bytea PRIMARY KEY,
	account_id bigint NOT NULL REFERENCES account,
	level      text NOT NULL,  -- acr reached: 'password' waits for the second factor, 'two-factor'
	created_at timestamptz NOT NULL DEFAULT now(),
	seen_at    timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	ended_at   timestamptz
);
CREATE INDEX ON web_session (account_id);

-- mailstore: mailboxes, letters, messages. A letter is one sealed body; a message is
-- its place in one mailbox with the packet that opens it.
CREATE TABLE mailbox (
	id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	bal_id       bigint NOT NULL REFERENCES bal,
	role         text CHECK (role IN ('inbox', 'drafts', 'sent', 'archive', 'junk', 'trash')),
	name_key     bytea NOT NULL,
	name_sealed  bytea,          -- NULL when the role names it
	uidvalidity  bigint NOT NULL,
	uidnext      bigint NOT NULL DEFAULT 1,
	modseq       bigint NOT NULL DEFAULT 1,
	messages     bigint NOT NULL DEFAULT 0,
	unseen       bigint NOT NULL DEFAULT 0,
	size         bigint NOT NULL DEFAULT 0,
	subscribed   boolean NOT NULL DEFAULT true,
	created_at   timestamptz NOT NULL DEFAULT now(),
	UNIQUE (bal_id, name_key),
	CHECK ((role IS NULL) = (name_sealed IS NOT NULL))
);
CREATE UNIQUE INDEX ON mailbox (bal_id, role) WHERE role IS NOT NULL;

CREATE TABLE letter (
	id            uuid PRIMARY KEY,      -- also the blob's name
	size          bigint NOT NULL,       -- octets as received, trace fields included
	sealed_size   bigint NOT NULL,
	sealed_sha256 bytea NOT NULL,
	outline       bytea NOT NULL,        -- header and structure, sealed by the letter's session key
	created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE message (
	mailbox_id     bigint NOT NULL REFERENCES mailbox,
	uid            bigint NOT NULL,
	modseq         bigint NOT NULL,
	letter_id      uuid NOT NULL REFERENCES letter,
	generation     int NOT NULL,          -- of the holder's key
	packet         bytea NOT NULL,        -- session key for the holder
	view           bytea,                 -- outline resealed with the view key, at first sight
	flags          int NOT NULL DEFAULT 0,
	keywords       text[] NOT NULL DEFAULT '{}',
	size           bigint NOT NULL,
	message_id_key bytea,
	thread_key     bytea,                 -- of the first message referred to; a sealed letter cannot be asked later
	received_at    timestamptz NOT NULL,
	PRIMARY KEY (mailbox_id, uid)
);
CREATE INDEX ON message (letter_id);
CREATE INDEX ON message (mailbox_id, modseq);
CREATE INDEX ON message (mailbox_id, message_id_key) WHERE message_id_key IS NOT NULL;

CREATE TABLE expunged (
	mailbox_id bigint NOT NULL REFERENCES mailbox ON DELETE CASCADE,
	uid        bigint NOT NULL,
	modseq     bigint NOT NULL,
	PRIMARY KEY (mailbox_id, uid)
);
CREATE INDEX ON expunged (mailbox_id, modseq);

-- A peer or client that lost our 250 sends again: the same message for the same BAL
-- is deposited once (RFC 5321 §4.5.4.1 leaves duplicates to us).
CREATE TABLE deposited (
	bal_id       bigint NOT NULL REFERENCES bal,
	content_key  bytea NOT NULL,
	deposited_at timestamptz NOT NULL,
	PRIMARY KEY (bal_id, content_key)
);
CREATE INDEX ON deposited (deposited_at);

-- blob: sealed octets too short to be worth a file (internal/blob.Short).
CREATE TABLE blob_short (
	name    uuid PRIMARY KEY,
	octets  bytea NOT NULL,
	made_at timestamptz NOT NULL
);
ALTER TABLE blob_short ALTER octets SET STORAGE EXTERNAL;  -- noise does not compress

-- consent: who may write to whom between a patient and professionals (mssante.md §6).
CREATE TABLE exchange (
	patient_bal_id bigint NOT NULL REFERENCES bal,
	peer_key       bytea NOT NULL,   -- the professional address
	peer_sealed    bytea NOT NULL,   -- address and name, for the patient's holder
	state          text NOT NULL CHECK (state IN ('open', 'ended')),
	state_at       timestamptz NOT NULL,
	PRIMARY KEY (patient_bal_id, peer_key)
);

-- outbound: mail that leaves. One row per letter and destination domain.
CREATE TABLE outbound (
	id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	letter_id     uuid NOT NULL REFERENCES letter,
	packet        bytea NOT NULL,        -- session key for the relay holder
	generation    int NOT NULL,
	sender_bal_id bigint REFERENCES bal, -- NULL for a DSN
	domain        text NOT NULL,
	reverse_path  bytea NOT NULL,        -- sealed; empty text inside is <>
	envelope_id   bytea,                 -- ENVID, sealed
	full_return   boolean NOT NULL DEFAULT false,
	size          bigint NOT NULL DEFAULT 0,  -- octets, said to the peer
	queued_at     timestamptz NOT NULL,
	expires_at    timestamptz NOT NULL,
	next_at       timestamptz NOT NULL,  -- no attempt before
	lease_until   timestamptz,           -- a worker has it in hand until then
	attempts      int NOT NULL DEFAULT 0,
	done_at       timestamptz            -- all settled and told; the packet is then empty
);
CREATE INDEX ON outbound (letter_id);
CREATE INDEX ON outbound (next_at) WHERE done_at IS NULL;

CREATE TABLE outbound_recipient (
	outbound_id bigint NOT NULL REFERENCES outbound,
	n           int NOT NULL,
	address     bytea NOT NULL,          -- sealed by the letter's session key
	original    bytea,                   -- ORCPT, sealed
	notify      int NOT NULL DEFAULT 0,
	state       text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'delivered', 'failed')),
	attempts    int NOT NULL DEFAULT 0,
	tried_at    timestamptz,
	delay_told  boolean NOT NULL DEFAULT false,
	end_told    boolean NOT NULL DEFAULT false,  -- its end needs no report any more
	reply_code  int NOT NULL DEFAULT 0,
	enhanced    text NOT NULL DEFAULT '',
	reply_text  bytea,                   -- what the peer said, sealed
	remote_mta  text NOT NULL DEFAULT '',
	PRIMARY KEY (outbound_id, n)
);

-- dossier: patients, their documents, and what could not be filed.
CREATE TABLE patient (
	id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	ins_key       bytea NOT NULL UNIQUE,  -- class and 15 characters
	ins_class     text NOT NULL CHECK (ins_class IN ('real', 'test')),
	traits_sealed bytea NOT NULL,         -- INS and traits, under the register's key
	generation    int NOT NULL,
	qualified     boolean NOT NULL DEFAULT false,
	holder_id     bigint NOT NULL REFERENCES seal_holder,  -- of the dossier
	bal_id        bigint UNIQUE REFERENCES bal,
	account_id    bigint REFERENCES account,
	state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
	feeding_opposed boolean NOT NULL DEFAULT false,
	created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE document (
	id            uuid PRIMARY KEY,
	patient_id    bigint NOT NULL REFERENCES patient,
	unique_key    bytea NOT NULL,         -- CDA id, or the content's hash
	set_key       bytea NOT NULL,         -- CDA setId; the document's own when there is none
	version       int NOT NULL,
	status        text NOT NULL CHECK (status IN ('approved', 'deprecated', 'archived', 'deleted')),
	visibility    text[] NOT NULL DEFAULT '{N}',
	origin        text NOT NULL CHECK (origin IN ('ingest', 'patient')),
	author_bal_id bigint REFERENCES bal,  -- BAL that sent it, when ours
	author_key    bytea,                  -- author's national identifier
	organisation_key bytea,               -- author's structure
	replaces_key  bytea,                  -- unique_key of the document it says it replaces
	flagged       boolean NOT NULL DEFAULT false,  -- what it replaces is not known here
	blob_id       uuid NOT NULL,
	size          bigint NOT NULL,
	sealed_size   bigint NOT NULL,
	sealed_sha256 bytea NOT NULL,
	generation    int NOT NULL,
	packet        bytea NOT NULL,
	meta          bytea NOT NULL,         -- title, type, dates, author…, sealed
	view          bytea,
	filed_at      timestamptz NOT NULL,
	seen_at       timestamptz,
	UNIQUE (patient_id, unique_key),
	UNIQUE (patient_id, set_key, version)
);

CREATE TABLE quarantine (
	id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	letter_id     uuid NOT NULL,
	bal_id        bigint NOT NULL REFERENCES bal,  -- where the message stays
	mailbox_id    bigint NOT NULL,
	uid           bigint NOT NULL,
	document_key  bytea NOT NULL,   -- which entry of the archive; empty for the archive itself
	code          int NOT NULL CHECK (code BETWEEN 900 AND 906),
	cause         text NOT NULL,    -- constant words
	created_at    timestamptz NOT NULL,
	settled_at    timestamptz,
	UNIQUE (letter_id, bal_id, document_key)
);

CREATE TABLE ingestion (            -- one per letter that carries an archive
	letter_id   uuid NOT NULL,
	bal_id      bigint NOT NULL REFERENCES bal,
	generation  int NOT NULL,
	mailbox_id  bigint NOT NULL,    -- where the message was put
	uid         bigint NOT NULL,
	packet      bytea,              -- session key for the ingest holder; dropped when done
	reverse_path bytea,             -- sealed by the letter's session key; empty text inside is <>
	done_at     timestamptz,
	filed       int NOT NULL DEFAULT 0,
	refused     int NOT NULL DEFAULT 0,
	PRIMARY KEY (letter_id, bal_id)
);

-- audit: append only. One chain per subject; mac covers the row and the mac before.
CREATE TABLE trace_chain (
	id   text PRIMARY KEY,          -- 'bal:7', 'patient:3', 'house'
	seq  bigint NOT NULL DEFAULT 0,
	mac  bytea NOT NULL DEFAULT ''
);

CREATE TABLE trace (
	chain      text NOT NULL,
	seq        bigint NOT NULL,
	at         timestamptz NOT NULL,
	actor      text NOT NULL,        -- 'account:5', 'peer:<domain>', 'house'
	action     text NOT NULL,
	object     text NOT NULL,        -- 'document:<uuid>', 'letter:<uuid>', …
	effect     text NOT NULL CHECK (effect IN ('permit', 'deny')),
	rules      text[] NOT NULL,
	rulebook   text NOT NULL,
	means      text NOT NULL DEFAULT '',   -- 'imap', 'web', 'smtp', 'job'
	mac        bytea NOT NULL,
	PRIMARY KEY (chain, seq)
);
CREATE FUNCTION trace_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'a trace is never changed'; END $$;
CREATE TRIGGER trace_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON trace
	FOR EACH STATEMENT EXECUTE FUNCTION trace_is_kept();
