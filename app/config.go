package app

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Config is everything an operator may set. Secrets are given as paths of files.
// The comments of the fields below become the comments of pli.sample.toml.
type Config struct {
	Operator    OperatorConfig    `toml:"operator"`
	Database    DatabaseConfig    `toml:"database"`
	Redis       RedisConfig       `toml:"redis"`
	Blobs       BlobsConfig       `toml:"blobs"`
	Keys        KeysConfig        `toml:"keys"`
	Certs       CertsConfig       `toml:"certs"`
	SMTP        SMTPConfig        `toml:"smtp"`
	IMAP        IMAPConfig        `toml:"imap"`
	Web         WebConfig         `toml:"web"`
	LDAP        LDAPConfig        `toml:"ldap"`
	FHIR        FHIRConfig        `toml:"fhir"`
	DAV         DAVConfig         `toml:"dav"`
	Scanner     ScannerConfig     `toml:"scanner"`
	Outbound    OutboundConfig    `toml:"outbound"`
	National    NationalConfig    `toml:"national"`
	Register    RegisterConfig    `toml:"register"`
	Publication PublicationConfig `toml:"publication"`
	Private     PrivateConfig     `toml:"private"`
}

// OperatorConfig names the operator and its domains.
type OperatorConfig struct {
	// Name of the operator, shown to people.
	Name string `toml:"name" sample:"Opérateur exemple"`
	// Hostname that the mail doors announce.
	Hostname string `toml:"hostname" sample:"mail.mss-a.example"`
	// Domains of the professionals' addresses that this operator holds.
	Domains []string `toml:"domains" sample:"mss-a.example"`
	// PatientDomain is the domain of the patients' addresses (INS@domain). Empty: this
	// operator has no patients.
	PatientDomain string `toml:"patient_domain" sample:"patient.mss-a.example"`
	// ForeignPatientDomains are the domains of patients at other operators.
	ForeignPatientDomains []string `toml:"foreign_patient_domains"`
	// INSClass is "real" in production, "test" where only INS made for tests are filed.
	// The two are never mixed.
	INSClass string `toml:"ins_class" sample:"real"`
	// Contact is where people write to the operator and its data protection officer.
	Contact string `toml:"contact"`
	// QuotaSize of a BAL in octets, where the BAL says nothing else. Zero means 10 GiB.
	QuotaSize int64 `toml:"quota_size"`
}

// DatabaseConfig says where PostgreSQL is.
type DatabaseConfig struct {
	// DSN is a PostgreSQL connection string or URL. A password is better given by a
	// passfile, or made needless by a socket directory that only Pli's user may enter.
	DSN string `toml:"dsn" sample:"host=/run/postgresql user=pli dbname=pli"`
	// MaxConns bounds the pool of one process. Zero means 20; 10 or more: an import of the
	// national directory holds seven at once.
	MaxConns int32 `toml:"max_conns"`
	// SearchConns bounds those that answer searches in the directory, apart from mail's.
	// Zero means 8.
	SearchConns int32 `toml:"search_conns"`
}

// RedisConfig says where Redis is. It only wakes and counts, and may be emptied or
// lost at any moment.
type RedisConfig struct {
	// URL of Redis, as redis://user:password@host:port/db or unix:///path.
	URL string `toml:"url" sample:"unix:///run/redis/redis.sock"`
	// URLFile holds the URL instead, where it carries a password.
	URLFile string `toml:"url_file"`
}

// BlobsConfig says where sealed bodies are kept: Dir, or S3.
type BlobsConfig struct {
	// Dir of the local file store.
	Dir string `toml:"dir" sample:"/var/lib/pli/blobs"`
	// S3Endpoint is host:port of an S3 store. Dir and S3Endpoint exclude each other.
	S3Endpoint string `toml:"s3_endpoint"`
	// S3Bucket must exist.
	S3Bucket string `toml:"s3_bucket"`
	// S3Region of the bucket.
	S3Region string `toml:"s3_region"`
	// S3AccessKeyFile holds the access key.
	S3AccessKeyFile string `toml:"s3_access_key_file"`
	// S3SecretKeyFile holds the secret key.
	S3SecretKeyFile string `toml:"s3_secret_key_file"`
	// S3Plain talks HTTP without TLS: only to a store on the same machine.
	S3Plain bool `toml:"s3_plain"`
	// ShortSize is up to how many sealed octets a blob is kept in the database, where it
	// costs no file and no wait of its own. Zero means 16,384; below zero, none is.
	ShortSize int64 `toml:"short_size"`
	// SpoolDir holds temporary files, sealed with throw-away keys. Empty: the system's.
	SpoolDir string `toml:"spool_dir"`
}

// KeysConfig names the operator's key files, mode 0400, outside the database.
type KeysConfig struct {
	// Operator key files: the first wraps, all unwrap.
	Operator []string `toml:"operator" sample:"/etc/pli/operator.key"`
	// Index is the key of the blind indexes. Losing it loses addresses: back it up.
	Index string `toml:"index" sample:"/etc/pli/index.key"`
	// Audit is the key of the trace chains.
	Audit string `toml:"audit" sample:"/etc/pli/audit.key"`
}

// CertsConfig names certificates, PEM files, read again when they change.
type CertsConfig struct {
	// Roots is a PEM file of the accepted root certificates of the trusted space.
	Roots string `toml:"roots" sample:"/etc/pli/igc-sante-roots.pem"`
	// Intermediates is a PEM file of the authorities between a root and the servers.
	Intermediates string `toml:"intermediates" sample:"/etc/pli/igc-sante-intermediates.pem"`
	// CRLs are the revocation lists of these authorities, DER or PEM.
	CRLs []string `toml:"crls" sample:"/etc/pli/igc-sante.crl"`
	// WhiteList is the signed list of trusted domains.
	WhiteList string `toml:"white_list" sample:"/etc/pli/listeblanche.xml"`
	// WhiteListSigners are the common names that may sign it. Empty: alb.mssante.fr.
	WhiteListSigners []string `toml:"white_list_signers"`
	// WhiteListKept is a file that Pli writes: the last list accepted, so that an older
	// one is refused after a restart too.
	WhiteListKept string `toml:"white_list_kept" sample:"/var/lib/pli/listeblanche.kept"`
	// WhiteListForce accepts a list that removes more than a fifth of the domains: set
	// for one change and taken away.
	WhiteListForce bool `toml:"white_list_force"`
	// ServerCert is shown to peers and to mail clients.
	ServerCert string `toml:"server_cert" sample:"/etc/pli/server.pem"`
	// ServerKey is its private key.
	ServerKey string `toml:"server_key" sample:"/etc/pli/server.key"`
	// ClientCert is shown to other operators when we relay.
	ClientCert string `toml:"client_cert" sample:"/etc/pli/client.pem"`
	// ClientKey is its private key.
	ClientKey string `toml:"client_key" sample:"/etc/pli/client.key"`
	// PublicCert is shown to browsers. Empty: the server's.
	PublicCert string `toml:"public_cert"`
	// PublicKey is its private key.
	PublicKey string `toml:"public_key"`
}

// SMTPConfig says where mail comes in. An empty address opens no door.
type SMTPConfig struct {
	// MX listens for other operators, STARTTLS with a client certificate.
	MX string `toml:"mx" sample:":25"`
	// Submission listens for users, STARTTLS.
	Submission string `toml:"submission" sample:":587"`
	// Submissions listens for users, TLS from the first octet.
	Submissions string `toml:"submissions" sample:":465"`
	// MaxSize of a message in octets, as sent. Zero means 36,700,160: 25 MiB of content
	// in base64, and some room.
	MaxSize int64 `toml:"max_size"`
}

// IMAPConfig says where mail is read.
type IMAPConfig struct {
	// IMAP listens with STARTTLS.
	IMAP string `toml:"imap" sample:":143"`
	// IMAPS listens with TLS from the first octet.
	IMAPS string `toml:"imaps" sample:":993"`
}

// WebConfig says where people come in.
type WebConfig struct {
	// Listen for HTTPS.
	Listen string `toml:"listen" sample:":443"`
}

// LDAPConfig says where mail programs ask the directory, as an address book.
type LDAPConfig struct {
	// LDAP listens with STARTTLS.
	LDAP string `toml:"ldap" sample:":389"`
	// LDAPS listens with TLS from the first octet.
	LDAPS string `toml:"ldaps" sample:":636"`
	// Base is the name under which entries are. Empty: ou=annuaire,o=mssante,c=fr.
	Base string `toml:"base"`
	// Hostname that people are told to connect to. Empty: the operator's.
	Hostname string `toml:"hostname"`
	// HourlyEntries that one account may be given in an hour: completion needs some
	// hundreds, a copy of the directory millions. Zero means 10,000.
	HourlyEntries int32 `toml:"hourly_entries"`
}

// FHIRConfig says where software asks the directory over FHIR R4.
type FHIRConfig struct {
	// Listen for HTTPS.
	Listen string `toml:"listen" sample:":8443"`
	// BaseURL is where software reaches it from outside. Empty: as the client called it.
	BaseURL string `toml:"base_url" sample:"https://fhir.mss-a.example/fhir"`
}

// DAVConfig says where phones ask the directory over CardDAV.
type DAVConfig struct {
	// Listen for HTTPS.
	Listen string `toml:"listen" sample:":8444"`
	// BaseURL is what people type into their phone. Empty: they are told nothing.
	BaseURL string `toml:"base_url" sample:"https://contacts.mss-a.example"`
}

// ScannerConfig says who looks for malware. Without an answer mail is deferred.
type ScannerConfig struct {
	// Network is tcp or unix.
	Network string `toml:"network" sample:"unix"`
	// Address of clamd. Its StreamMaxLength must exceed smtp.max_size.
	Address string `toml:"address" sample:"/run/clamav/clamd.ctl"`
	// Off accepts mail unscanned. Only for measurements.
	Off bool `toml:"off"`
}

// OutboundConfig says how mail leaves.
type OutboundConfig struct {
	// Routes gives host:port for a domain, in place of its MX records.
	Routes map[string]string `toml:"routes"`
	// RetryFirst is the first wait before another try. Zero means one minute.
	RetryFirst Duration `toml:"retry_first"`
	// GiveUpAfter is when a failure is told. Zero means 48 hours.
	GiveUpAfter Duration `toml:"give_up_after"`
}

// NationalConfig says where the extractions of the national directory come from. Every
// night they are fetched, checked and put in place of the former at once.
type NationalConfig struct {
	// Correspondance is the address of Extraction_Correspondance_MSSante: an https URL, or
	// the path of a file. Empty: addresses of other operators are not imported.
	Correspondance string `toml:"correspondance" sample:"https://service.annuaire.sante.fr/annuaire-sante-webservices/V300/services/extraction/Extraction_Correspondance_MSSante"`
	// Activite is the address of PS_LibreAcces: who exercises, and where. Empty: the end of
	// a professional's situation is not noticed.
	Activite string `toml:"activite" sample:"https://service.annuaire.sante.fr/annuaire-sante-webservices/V300/services/extraction/PS_LibreAcces"`
	// Roots is a PEM file of the authorities of that server. Empty: those of the trusted
	// space.
	Roots string `toml:"roots"`
	// Dir keeps the files fetched.
	Dir string `toml:"dir" sample:"/var/lib/pli/annuaire"`
	// Hour of the nightly import, in Paris, 0 to 23.
	Hour int32 `toml:"hour" sample:"4"`
	// MaxLoss is the percentage of lines that a new file may lack before it is held to be
	// truncated and refused. Zero means 5.
	MaxLoss int32 `toml:"max_loss"`
}

// RegisterConfig is about the life of the operator's own BAL.
type RegisterConfig struct {
	// NoticeAfter so long without use, the holder is told. Zero means 12 months.
	NoticeAfter Duration `toml:"notice_after"`
	// SuspendAfter so long, the BAL is suspended. Zero means 18 months.
	SuspendAfter Duration `toml:"suspend_after"`
	// UnpublishAfter so long, it leaves the directory. Zero means 24 months.
	UnpublishAfter Duration `toml:"unpublish_after"`
}

// PublicationConfig says how the national directory learns of the operator's own BAL.
type PublicationConfig struct {
	// URL is the FHIR base to which changes are sent as FHIRPath Patch. Empty: none is sent.
	URL string `toml:"url"`
	// KeyFile holds the API key of this operator at that server.
	KeyFile string `toml:"key_file"`
	// KeyHeader is the header that carries it. Empty: ESANTE-API-KEY.
	KeyHeader string `toml:"key_header"`
	// Roots is a PEM file of the authorities of that server. Empty: those of the trusted
	// space.
	Roots string `toml:"roots"`
	// KindAs writes the type of a BAL as "code" or as "concept". Empty: code.
	KindAs string `toml:"kind_as"`
	// Folder is where the daily file of all published BAL is written. Empty: none is.
	Folder string `toml:"folder"`
	// Reports is where the reports on daily files are put to be read. Empty: none is read.
	Reports string `toml:"reports"`
	// Hour after which the daily file is made, in Paris, 1 to 23. Zero means 1.
	Hour int32 `toml:"hour"`
}

// PrivateConfig is for the operator alone.
type PrivateConfig struct {
	// Listen for /livez, /readyz and /metrics. Never public.
	Listen string `toml:"listen" sample:"127.0.0.1:9090"`
	// LogLevel is debug, info, warn or error. Empty means info.
	LogLevel string `toml:"log_level"`
}

// Duration reads "90s" or "48h" in TOML.
type Duration time.Duration

func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Load reads a file, refuses keys it does not know, and lays PLI_SECTION_KEY from
// environ over it. Relative paths are relative to the file's folder.
func Load(path string, environ []string) (Config, error) {
	var c Config
	if path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return c, err
		}
		d := toml.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil {
			return c, explain(path, err)
		}
	}
	if err := overlay(&c, environ); err != nil {
		return c, err
	}
	if path != "" {
		c.rebase(filepath.Dir(path))
	}
	return c, nil
}

// Marshal writes the configuration as a file that Load reads.
func (c Config) Marshal() ([]byte, error) { return toml.Marshal(c) }

func explain(path string, err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		return fmt.Errorf("%s: unknown keys:\n%s", path, strict.String())
	}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		return fmt.Errorf("%s:\n%s", path, de.String())
	}
	return fmt.Errorf("%s: %w", path, err)
}

func (c *Config) rebase(dir string) {
	for _, p := range c.paths() {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// paths lists every field that is a path.
func (c *Config) paths() []*string {
	ps := []*string{&c.Redis.URLFile, &c.Blobs.Dir, &c.Blobs.S3AccessKeyFile, &c.Blobs.S3SecretKeyFile, &c.Blobs.SpoolDir,
		&c.Keys.Index, &c.Keys.Audit, &c.Certs.Roots, &c.Certs.Intermediates, &c.Certs.WhiteList, &c.Certs.WhiteListKept, &c.Certs.ServerCert, &c.Certs.ServerKey,
		&c.Certs.ClientCert, &c.Certs.ClientKey, &c.Certs.PublicCert, &c.Certs.PublicKey,
		&c.National.Roots, &c.National.Dir, &c.Publication.KeyFile, &c.Publication.Roots, &c.Publication.Folder, &c.Publication.Reports}
	for _, p := range []*string{&c.National.Correspondance, &c.National.Activite} {
		if !strings.Contains(*p, "://") {
			ps = append(ps, p)
		}
	}
	for _, l := range [][]string{c.Keys.Operator, c.Certs.CRLs} {
		for i := range l {
			ps = append(ps, &l[i])
		}
	}
	if c.Scanner.Network == "unix" {
		ps = append(ps, &c.Scanner.Address)
	}
	return ps
}

// Check lists every problem that can be seen without opening anything.
func (c *Config) Check() []error {
	p := &problems{}
	p.need(c.Operator.Hostname != "", "operator.hostname is missing")
	p.need(len(c.Operator.Domains) > 0, "operator.domains is empty")
	p.need(c.Database.DSN != "", "database.dsn is missing")
	p.need(c.Database.MaxConns == 0 || c.Database.MaxConns >= 10, "database.max_conns must be 10 or more")
	p.need((c.Blobs.Dir == "") != (c.Blobs.S3Endpoint == ""), "exactly one of blobs.dir and blobs.s3_endpoint must be set")
	p.need(c.Blobs.S3Endpoint == "" || c.Blobs.S3Bucket != "", "blobs.s3_bucket is missing")
	p.need(len(c.Keys.Operator) > 0, "keys.operator is empty")
	p.need(c.Keys.Index != "", "keys.index is missing")
	p.need(c.Keys.Audit != "", "keys.audit is missing")
	p.need(c.Certs.Roots != "", "certs.roots is missing")
	p.need(c.Certs.WhiteList != "", "certs.white_list is missing")
	p.need(c.Operator.INSClass == "real" || c.Operator.INSClass == "test", "operator.ins_class must be real or test")
	p.need(c.Certs.ServerCert != "" && c.Certs.ServerKey != "", "certs.server_cert and certs.server_key must be set")
	p.need(c.Redis.URL == "" || c.Redis.URLFile == "", "redis.url and redis.url_file exclude each other")
	p.need(c.Scanner.Off || c.Scanner.Address != "", "scanner.address is missing (or scanner.off)")
	p.need(c.Scanner.Off || c.Scanner.Network == "tcp" || c.Scanner.Network == "unix", "scanner.network must be tcp or unix")
	p.need(c.National.Hour >= 0 && c.National.Hour < 24, "national.hour must be 0 to 23")
	p.need(c.National.MaxLoss >= 0 && c.National.MaxLoss <= 100, "national.max_loss must be 0 to 100")
	for name, u := range map[string]string{"national.correspondance": c.National.Correspondance, "national.activite": c.National.Activite} {
		p.need(!strings.HasPrefix(u, "http://"), "%s must be https", name)
		p.need(!strings.HasPrefix(u, "https://") || c.National.Dir != "", "national.dir is missing")
	}
	for _, problem := range c.publication().Check() {
		p.need(false, "publication.%s", problem)
	}
	c.checkListeners(p)
	for _, f := range c.files() {
		_, err := os.Stat(f)
		p.need(err == nil, "%s: cannot be read", f)
	}
	return p.list
}

func (c *Config) checkListeners(p *problems) {
	seen := map[string]string{}
	for name, addr := range c.Listeners() {
		if addr == "" {
			continue
		}
		_, port, err := net.SplitHostPort(addr)
		n, perr := strconv.Atoi(port)
		p.need(err == nil && perr == nil && n >= 0 && n < 1<<16, "%s: %q is not host:port", name, addr)
		other := seen[addr]
		p.need(other == "" || port == "0", "%s and %s listen on the same address %s", name, other, addr)
		seen[addr] = name
	}
}

// Listeners maps each setting that opens a door to its address.
func (c *Config) Listeners() map[string]string {
	return map[string]string{
		"smtp.mx": c.SMTP.MX, "smtp.submission": c.SMTP.Submission, "smtp.submissions": c.SMTP.Submissions,
		"imap.imap": c.IMAP.IMAP, "imap.imaps": c.IMAP.IMAPS, "web.listen": c.Web.Listen, "private.listen": c.Private.Listen,
		"ldap.ldap": c.LDAP.LDAP, "ldap.ldaps": c.LDAP.LDAPS, "fhir.listen": c.FHIR.Listen, "dav.listen": c.DAV.Listen,
	}
}

// files lists the files that must be there before a server starts.
func (c *Config) files() []string {
	var out []string
	for _, l := range [][]string{c.Keys.Operator, {c.Keys.Index, c.Keys.Audit}, c.Certs.CRLs,
		{c.Certs.Roots, c.Certs.Intermediates, c.Certs.WhiteList, c.Certs.ServerCert, c.Certs.ServerKey, c.Certs.ClientCert, c.Certs.ClientKey,
			c.Certs.PublicCert, c.Certs.PublicKey, c.Redis.URLFile, c.Blobs.S3AccessKeyFile, c.Blobs.S3SecretKeyFile,
			c.National.Roots, c.Publication.KeyFile, c.Publication.Roots}} {
		for _, f := range l {
			if f != "" {
				out = append(out, f)
			}
		}
	}
	return out
}

type problems struct{ list []error }

func (p *problems) need(ok bool, format string, args ...any) {
	if !ok {
		p.list = append(p.list, fmt.Errorf(format, args...))
	}
}

// RedisURL gives the URL, from its file where it is in one.
func (c *Config) RedisURL() (string, error) {
	if c.Redis.URLFile == "" {
		return c.Redis.URL, nil
	}
	b, err := os.ReadFile(c.Redis.URLFile)
	return strings.TrimSpace(string(b)), err
}
