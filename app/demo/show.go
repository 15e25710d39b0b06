package demo

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"pli/health"
)

// The shape of demo.json, for scripts and for real clients.
type shownDemo struct {
	CA        string          `json:"ca"`
	Operators []shownOperator `json:"operators"`
	Accounts  []shownAccount  `json:"accounts"`
}

type shownOperator struct {
	Domain      string   `json:"domain"`
	MX          string   `json:"mx"`
	Submission  string   `json:"submission"`
	Submissions string   `json:"submissions"`
	IMAP        string   `json:"imap"`
	IMAPS       string   `json:"imaps"`
	Web         string   `json:"web"`
	LDAP        string   `json:"ldap"`
	LDAPS       string   `json:"ldaps"`
	FHIR        string   `json:"fhir"`
	DAV         string   `json:"dav"`
	Metrics     string   `json:"metrics"`
	Data        []string `json:"data"`
	PIDs        []string `json:"pids"`
}

type shownAccount struct {
	Operator   int    `json:"operator"`
	Kind       string `json:"kind"`
	Address    string `json:"address"`
	Name       string `json:"name"`
	Login      string `json:"login,omitempty"`
	Password   string `json:"password,omitempty"`
	Web        string `json:"web_password,omitempty"`
	TOTPSecret string `json:"totp_secret,omitempty"`
	ClientCert string `json:"client_cert,omitempty"`
	ClientKey  string `json:"client_key,omitempty"`
	RPPS       string `json:"rpps,omitempty"`
	FINESS     string `json:"finess,omitempty"`
	INS        string `json:"ins,omitempty"`
}

// show writes demo.json.
func (d *demo) show() error {
	j := shownDemo{CA: d.shown(d.at("ca.pem"))}
	for i, op := range d.ops {
		j.Operators = append(j.Operators, d.shownOperator(i))
		for _, p := range op.cast {
			j.Accounts = append(j.Accounts, d.shownAccount(i, p))
		}
	}
	b, err := json.MarshalIndent(j, "", " ")
	if err != nil {
		return err
	}
	return writeFile(d.at("demo.json"), append(b, '\n'), 0o600)
}

func (d *demo) shownOperator(i int) shownOperator {
	op, p := d.ops[i], d.ports(i)
	o := shownOperator{Domain: op.domain, MX: addr(p.mx), Submission: addr(p.submission), Submissions: addr(p.submissions), IMAP: addr(p.imap),
		IMAPS: addr(p.imaps), Web: "https://localhost:" + strconv.Itoa(p.web), LDAP: addr(p.ldap), LDAPS: addr(p.ldaps),
		FHIR: "https://localhost:" + strconv.Itoa(p.fhir) + "/fhir", DAV: "https://localhost:" + strconv.Itoa(p.dav), Metrics: "http://" + addr(p.metrics),
		Data: []string{d.shown(d.databaseDir(op)), d.shown(d.at(op.name, "blobs"))}}
	for _, pr := range d.processes(i) {
		o.PIDs = append(o.PIDs, d.shown(d.pidFile(op, pr)))
	}
	o.PIDs = append(o.PIDs, d.shown(d.at(op.name, "postgres.pid")))
	if i == 0 { // shared by both
		for _, name := range []string{"redis.pid", "clamd.pid"} {
			if _, err := os.Stat(d.at(name)); err == nil {
				o.PIDs = append(o.PIDs, d.shown(d.at(name)))
			}
		}
	}
	return o
}

func (d *demo) shownAccount(i int, p person) shownAccount {
	op, sec := d.ops[i], d.secrets[p.key]
	a := shownAccount{Operator: i, Kind: string(p.kind), Address: p.address(op), Name: p.name, Login: p.login, Password: sec.Password,
		Web: sec.Web, TOTPSecret: sec.TOTP}
	if p.who != nil {
		a.RPPS = string(p.who.RPPS)
	}
	switch p.kind {
	case health.Patient:
		a.Kind, a.INS = "patient", p.ins
	case health.APP:
		pair := d.pki.Operators[op.name].Clients[p.clientKey]
		a.ClientCert, a.ClientKey, a.FINESS = d.shown(pair.Cert), d.shown(pair.Key), string(p.place.FINESS)
	case health.ORG:
		a.FINESS = string(p.place.FINESS)
	}
	return a
}

// hide removes demo.json.
func (d *demo) hide() {
	if err := os.Remove(filepath.Join(d.dir, "demo.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.say("demo.json : %v", err)
	}
}
