package demo

import (
	"time"

	"pli/health"
)

// welcome says who is there and where to go.
func (d *demo) welcome() {
	d.say("\nPli est prêt (%.1f s). Tout le monde ici est inventé ; tout écoute sur cette machine seulement.", time.Since(d.started).Seconds())
	for i, op := range d.ops {
		p := d.ports(i)
		d.say("\n%s, %s", op.title, op.domain)
		d.say("  web          https://localhost:%d", p.web)
		d.say("  envoi        %s (TLS), %s (STARTTLS)", addr(p.submissions), addr(p.submission))
		d.say("  lecture      %s (TLS), %s (STARTTLS)", addr(p.imaps), addr(p.imap))
		d.say("  annuaire     ldaps://localhost:%d   FHIR https://localhost:%d/fhir   CardDAV https://localhost:%d", p.ldaps, p.fhir, p.dav)
		d.say("  opérateurs   %s     mesures http://%s/metrics", addr(p.mx), addr(p.metrics))
		for _, who := range op.cast {
			d.introduce(op, who)
		}
	}
	d.say("\nCertificats : faites confiance à %s. Pour les programmes : %s.", d.shown(d.at("ca.pem")), d.shown(d.at("demo.json")))
	d.say("Code à usage unique : oathtool --totp -b SECRET, ou toute application d'authentification.")
	d.say("Ctrl-C arrête tout ; make demo-reset efface tout.")
}

func (d *demo) introduce(op operator, p person) {
	sec := d.secrets[p.key]
	d.say("\n  %s (%s)", p.name, p.note)
	d.say("    adresse      %s", p.address(op))
	switch p.kind {
	case health.Patient:
		d.say("    web          %s   mot de passe %s   secret TOTP %s", p.login, sec.Password, sec.TOTP)
	case health.APP:
		pair := d.pki.Operators[op.name].Clients[p.clientKey]
		d.say("    certificat   %s   clé %s", d.shown(pair.Cert), d.shown(pair.Key))
	default:
		d.say("    mot de passe %s", sec.Password)
		if sec.TOTP != "" {
			d.say("    web          %s   mot de passe %s   secret TOTP %s", p.login, sec.Web, sec.TOTP)
		}
	}
}
