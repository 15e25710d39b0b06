-- The directory, as everybody may ask it: what is published of BAL, professionals and
-- structures. Three parts of each table: "own" is fed by the house's register as it
-- changes; "a" and "b" hold the national extractions in turn (mssante.md §4.2): one is
-- read while the other is built, and national_part says which. Nothing here is about a
-- patient, and no BAL on the liste rouge is.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- A BAL that may be shown: one row per address, professional and structure. The f_
-- columns are folded (no accents, lower case, single spaces) for searching.
CREATE TABLE listing_own (
	key            bytea NOT NULL PRIMARY KEY, -- 16 octets: hash of address, professional, structure and service
	bal_id         bigint,                     -- of ours; NULL for the others
	kind           text NOT NULL,              -- PER, ORG, APP, CAB (TRE_R257)
	address        text NOT NULL,
	pp_type        text NOT NULL DEFAULT '',   -- of the professional's identifier: 8 RPPS, 0 ADELI (TRE_G08)
	pp             text NOT NULL DEFAULT '',   -- the identifier, without its type
	place_type     text NOT NULL DEFAULT '',   -- FINESS, SIRET, SIREN, or as published
	place          text NOT NULL DEFAULT '',
	civility       text NOT NULL DEFAULT '',
	family_name    text NOT NULL DEFAULT '',
	given_name     text NOT NULL DEFAULT '',
	category       text NOT NULL DEFAULT '',   -- TRE_R09
	category_label text NOT NULL DEFAULT '',
	profession     text NOT NULL DEFAULT '',   -- TRE_G15, or any other code as published
	profession_label text NOT NULL DEFAULT '',
	know_how       text NOT NULL DEFAULT '',   -- savoir-faire
	know_how_label text NOT NULL DEFAULT '',
	display_name   text NOT NULL DEFAULT '',   -- of ours, when the register has one
	service        text NOT NULL DEFAULT '',
	description    text NOT NULL DEFAULT '',
	hours          text NOT NULL DEFAULT '',
	structure      text NOT NULL DEFAULT '',   -- raison sociale
	trade_name     text NOT NULL DEFAULT '',   -- enseigne commerciale
	sector         text NOT NULL DEFAULT '',   -- TRE_R02
	complement     text NOT NULL DEFAULT '',
	street         text NOT NULL DEFAULT '',
	postal_code    text NOT NULL DEFAULT '',
	city           text NOT NULL DEFAULT '',
	department     text NOT NULL DEFAULT '',
	country        text NOT NULL DEFAULT '',
	paperless      boolean NOT NULL DEFAULT false, -- dématérialisation
	open_to_patients boolean NOT NULL DEFAULT false,
	rank           int NOT NULL DEFAULT 1,     -- 1 is the preferred BAL of its holder
	since_at       timestamptz NOT NULL,       -- first seen
	changed_at     timestamptz NOT NULL,       -- last seen different
	seen_at        timestamptz NOT NULL,       -- last confirmed by its source
	f_name         text COLLATE "C" NOT NULL,  -- family name, given name; or the service's name
	f_given        text COLLATE "C" NOT NULL,  -- given name, family name; or empty
	f_address      text COLLATE "C" NOT NULL,
	f_city         text COLLATE "C" NOT NULL,
	words          tsvector NOT NULL           -- weights: A names, B structure and service, C place, D profession
);
CREATE INDEX ON listing_own (f_name, rank, key);
CREATE INDEX ON listing_own (f_given, rank, key) WHERE f_given <> '';
CREATE INDEX ON listing_own (f_address);
CREATE INDEX ON listing_own (pp) WHERE pp <> '';
CREATE INDEX ON listing_own (place) WHERE place <> '';
CREATE INDEX ON listing_own (bal_id);
CREATE INDEX ON listing_own USING gin (words) WITH (fastupdate = off);

CREATE TABLE practitioner_own (
	id             text COLLATE "C" PRIMARY KEY, -- rpps-…, adeli-…, pp-… : the FHIR id
	pp_type        text NOT NULL DEFAULT '',
	pp             text NOT NULL DEFAULT '',
	civility       text NOT NULL DEFAULT '',
	family_name    text NOT NULL,
	given_name     text NOT NULL DEFAULT '',
	category       text NOT NULL DEFAULT '',
	category_label text NOT NULL DEFAULT '',
	active         boolean NOT NULL DEFAULT true,
	changed_at     timestamptz NOT NULL,
	seen_at        timestamptz NOT NULL,
	f_family       text COLLATE "C" NOT NULL,
	f_given        text COLLATE "C" NOT NULL
);
CREATE INDEX ON practitioner_own (f_family, f_given);
CREATE INDEX ON practitioner_own (f_given);
CREATE INDEX ON practitioner_own (pp);

CREATE TABLE organization_own (
	id             text COLLATE "C" PRIMARY KEY, -- finess-…, siret-…, st-…
	finess         text NOT NULL DEFAULT '',
	finess_ej      text NOT NULL DEFAULT '',
	siret          text NOT NULL DEFAULT '',
	siren          text NOT NULL DEFAULT '',
	technical      text NOT NULL DEFAULT '',     -- identifiant technique de la structure
	name           text NOT NULL,
	trade_name     text NOT NULL DEFAULT '',
	sector         text NOT NULL DEFAULT '',
	sector_label   text NOT NULL DEFAULT '',
	complement     text NOT NULL DEFAULT '',
	street         text NOT NULL DEFAULT '',
	postal_code    text NOT NULL DEFAULT '',
	city           text NOT NULL DEFAULT '',
	department     text NOT NULL DEFAULT '',
	country        text NOT NULL DEFAULT '',
	phone          text NOT NULL DEFAULT '',
	fax            text NOT NULL DEFAULT '',
	presentation   text NOT NULL DEFAULT '',     -- who we are; ours only
	preparation    text NOT NULL DEFAULT '',     -- how to prepare an admission; ours only
	active         boolean NOT NULL DEFAULT true,
	changed_at     timestamptz NOT NULL,
	seen_at        timestamptz NOT NULL,
	f_name         text COLLATE "C" NOT NULL,
	f_trade        text COLLATE "C" NOT NULL,
	f_city         text COLLATE "C" NOT NULL
);
CREATE INDEX ON organization_own (f_name);
CREATE INDEX ON organization_own (f_trade) WHERE f_trade <> '';
CREATE INDEX ON organization_own (f_city, f_name);
CREATE INDEX ON organization_own (finess) WHERE finess <> '';
CREATE INDEX ON organization_own (siret) WHERE siret <> '';
CREATE INDEX ON organization_own (postal_code);

CREATE TABLE role_own (                        -- an exercise of a professional: PractitionerRole
	id             text COLLATE "C" PRIMARY KEY,
	practitioner   text COLLATE "C" NOT NULL,
	organization   text COLLATE "C" NOT NULL DEFAULT '',
	profession     text NOT NULL DEFAULT '',
	profession_label text NOT NULL DEFAULT '',
	know_how_type  text NOT NULL DEFAULT '',
	know_how       text NOT NULL DEFAULT '',
	know_how_label text NOT NULL DEFAULT '',
	mode           text NOT NULL DEFAULT '',     -- mode d'exercice: L, S, B
	mode_label     text NOT NULL DEFAULT '',
	function       text NOT NULL DEFAULT '',     -- rôle
	function_label text NOT NULL DEFAULT '',
	active         boolean NOT NULL DEFAULT true,
	changed_at     timestamptz NOT NULL,
	seen_at        timestamptz NOT NULL,
	f_family       text COLLATE "C" NOT NULL,    -- of the professional
	f_given        text COLLATE "C" NOT NULL
);
CREATE INDEX ON role_own (practitioner);
CREATE INDEX ON role_own (organization);
CREATE INDEX ON role_own (profession, know_how);
CREATE INDEX ON role_own (f_family, f_given);

-- Words that occur in listings: what a mistyped word is compared with.
CREATE TABLE word_own (word text COLLATE "C" PRIMARY KEY);
CREATE INDEX ON word_own USING gin (word gin_trgm_ops);

CREATE TABLE listing_a (LIKE listing_own INCLUDING ALL);
CREATE TABLE listing_b (LIKE listing_own INCLUDING ALL);
CREATE TABLE practitioner_a (LIKE practitioner_own INCLUDING ALL);
CREATE TABLE practitioner_b (LIKE practitioner_own INCLUDING ALL);
CREATE TABLE organization_a (LIKE organization_own INCLUDING ALL);
CREATE TABLE organization_b (LIKE organization_own INCLUDING ALL);
CREATE TABLE role_a (LIKE role_own INCLUDING ALL);
CREATE TABLE role_b (LIKE role_own INCLUDING ALL);
CREATE TABLE word_a (LIKE word_own INCLUDING ALL);
CREATE TABLE word_b (LIKE word_own INCLUDING ALL);

-- Which part is read.
CREATE TABLE national_part (
	one        boolean PRIMARY KEY DEFAULT true CHECK (one),
	part       text NOT NULL CHECK (part IN ('a', 'b')),
	edition    bigint NOT NULL DEFAULT 0,  -- rises at each swap
	swapped_at timestamptz
);
INSERT INTO national_part (part) VALUES ('a');

-- One run of the import of a published file, and its report.
CREATE TABLE national_import (
	id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	dataset      text NOT NULL CHECK (dataset IN ('correspondance', 'activite')),
	file_name    text NOT NULL,
	file_sha256  bytea NOT NULL,
	file_size    bigint NOT NULL,
	extracted_at timestamptz,             -- read in the file's name
	started_at   timestamptz NOT NULL,
	finished_at  timestamptz,
	state        text NOT NULL CHECK (state IN ('staging', 'staged', 'done', 'refused')),
	cause        text NOT NULL DEFAULT '',
	lines        bigint NOT NULL DEFAULT 0,
	kept         bigint NOT NULL DEFAULT 0,
	added        bigint NOT NULL DEFAULT 0,
	changed      bigint NOT NULL DEFAULT 0,
	gone         bigint NOT NULL DEFAULT 0,
	refused      bigint NOT NULL DEFAULT 0,
	repeated     bigint NOT NULL DEFAULT 0
);
CREATE INDEX ON national_import (dataset, id DESC);

CREATE TABLE national_refusal (            -- lines refused, the first of each run
	import_id bigint NOT NULL REFERENCES national_import ON DELETE CASCADE,
	line      bigint NOT NULL,
	cause     text NOT NULL,
	PRIMARY KEY (import_id, line)
);

-- Addresses that were published and are no more: who had them, to name the present one.
CREATE TABLE departed (
	address    text COLLATE "C" NOT NULL,
	kind       text NOT NULL,
	pp_type    text NOT NULL DEFAULT '',
	pp         text NOT NULL DEFAULT '',
	place_type text NOT NULL DEFAULT '',
	place      text NOT NULL DEFAULT '',
	service    text NOT NULL DEFAULT '',
	gone_at    timestamptz NOT NULL
);
CREATE INDEX ON departed (address);
CREATE INDEX ON departed (gone_at);

-- The register: what the operator keeps of his own BAL beyond their address.
ALTER TABLE bal
	ADD hours           text NOT NULL DEFAULT '',  -- opening hours, as shown
	ADD state_cause     text NOT NULL DEFAULT '',  -- why the state is what it is: a code
	ADD replacement     text NOT NULL DEFAULT '',  -- address that the structure names in place of a closed one
	ADD used_at         timestamptz,               -- last opened or written from, to the day
	ADD noticed_at      timestamptz,               -- told that it sleeps
	ADD unpublished_at  timestamptz;               -- taken out of the directory because it sleeps
ALTER TABLE structure
	ADD department   text NOT NULL DEFAULT '',
	ADD presentation text NOT NULL DEFAULT '',
	ADD preparation  text NOT NULL DEFAULT '';
ALTER TABLE person
	ADD seen_at timestamptz;                        -- last seen in the national extraction
