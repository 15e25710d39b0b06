-- The register: what each published BAL stands for in the tables beside listing_own, so
-- that a professional, a structure or an exercise leaves with the last BAL that shows it.
CREATE TABLE bal_shown (
	bal_id       bigint PRIMARY KEY REFERENCES bal,
	practitioner text COLLATE "C" NOT NULL DEFAULT '',
	organization text COLLATE "C" NOT NULL DEFAULT '',
	role         text COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX ON bal_shown (practitioner);
CREATE INDEX ON bal_shown (organization);
CREATE INDEX ON bal_shown (role);

-- Neither a patient nor a BAL on the liste rouge is published, whatever the code does.
ALTER TABLE listing_own ADD CONSTRAINT no_patient CHECK (kind <> 'PATIENT');

CREATE FUNCTION listing_is_listed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM bal b WHERE b.id = NEW.bal_id AND (b.unlisted OR b.kind = 'PATIENT')) THEN
		RAISE EXCEPTION 'this BAL is never published';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER listing_is_listed BEFORE INSERT OR UPDATE ON listing_own
	FOR EACH ROW EXECUTE FUNCTION listing_is_listed();

CREATE FUNCTION unlisted_has_no_listing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM bal b JOIN listing_own l ON l.bal_id = b.id WHERE b.id = NEW.id AND b.unlisted) THEN
		RAISE EXCEPTION 'a BAL on the liste rouge is still published';
	END IF;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER unlisted_has_no_listing AFTER UPDATE OF unlisted ON bal
	DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (NEW.unlisted) EXECUTE FUNCTION unlisted_has_no_listing();

-- Use was not counted until now: nobody is told that he sleeps for what was not seen.
UPDATE bal SET used_at = date_trunc('day', now()) WHERE kind <> 'PATIENT' AND used_at IS NULL;
CREATE INDEX ON bal ((coalesce(used_at, created_at))) WHERE kind <> 'PATIENT' AND state IN ('active', 'suspended');

-- A suggestion begins with the BAL that bore the address.
CREATE INDEX ON bal (address) WHERE address IS NOT NULL;
