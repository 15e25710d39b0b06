package message

import (
	"strings"
	"time"
)

// cause is what a DSN tells people: what happened and one thing to do (ux.md §6.6).
type cause struct{ fr, fixFR, en, fixEN string }

// causes are the failures by enhanced code (RFC 3463), the longest prefix first.
var causes = []struct {
	prefix string
	cause
}{
	{".1.1", cause{"Cette adresse n'existe pas (ou plus) chez DOMAIN.",
		"Cherchez l'adresse actuelle dans l'annuaire, puis renvoyez votre message.",
		"This address does not exist (any more) at DOMAIN.",
		"Look up the current address in the directory, then send your message again."}},
	{".1.6", cause{"Votre correspondant a quitté cette adresse.",
		"Cherchez l'adresse actuelle dans l'annuaire, puis renvoyez votre message.",
		"The recipient has left this address.",
		"Look up the current address in the directory, then send your message again."}},
	{".1.10", cause{"DOMAIN ne reçoit pas de courrier.",
		"Cherchez l'adresse actuelle dans l'annuaire, puis renvoyez votre message.",
		"DOMAIN accepts no mail.",
		"Look up the current address in the directory, then send your message again."}},
	{".1.2", cause{"DOMAIN ne fait pas partie de l'espace de confiance. Rien n'a été envoyé.",
		"Cherchez une autre adresse de cette personne dans l'annuaire.",
		"DOMAIN is not part of the trusted circle. Nothing was sent.",
		"Look for another address of this person in the directory."}},
	{".2.1", cause{"La boîte de votre correspondant est fermée.",
		"Cherchez dans l'annuaire qui le remplace, ou appelez son service.",
		"The recipient's mailbox is closed.",
		"Look in the directory for a replacement, or call the service."}},
	{".2.2", cause{"La boîte de votre correspondant est pleine.",
		"Appelez son service, ou renvoyez votre message plus tard.",
		"The recipient's mailbox is full.",
		"Call the service, or send your message again later."}},
	{".2.3", tooLarge}, {".3.4", tooLarge},
	{".4.7", cause{"Votre message n'a pas pu être remis dans les délais. Nous n'essayons plus.",
		"Renvoyez-le, ou appelez votre correspondant si c'est important.",
		"Your message could not be delivered in time. We have stopped trying.",
		"Send it again, or call the recipient if it matters."}},
	{".6.", cause{"Le serveur de DOMAIN n'accepte pas le contenu de ce message.",
		"Vérifiez les pièces jointes, puis renvoyez votre message.",
		"The server of DOMAIN does not accept the content of this message.",
		"Check the attachments, then send your message again."}},
	{".7.0", cause{"Le serveur de DOMAIN a refusé ce message pour des raisons de sécurité.",
		"Vérifiez les pièces jointes, puis renvoyez votre message.",
		"The server of DOMAIN refused this message for security reasons.",
		"Check the attachments, then send your message again."}},
	{".7.10", unproven}, {".7.11", unproven}, {".7.4", unproven}, {".7.5", unproven}, {".4.", cause{
		"Le serveur de DOMAIN n'a pas répondu. Votre message n'est pas parti.",
		"Renvoyez-le plus tard, ou appelez votre correspondant si c'est important.",
		"The server of DOMAIN did not answer. Your message was not sent.",
		"Send it again later, or call the recipient if it matters."}},
	{".7.", cause{"Votre correspondant n'accepte pas de message de votre part à cette adresse.",
		"Cherchez dans l'annuaire comment joindre son service.",
		"The recipient does not accept messages from you at this address.",
		"Look in the directory for how to reach the service."}},
	{"", cause{"Le serveur de DOMAIN a refusé votre message.",
		"Vérifiez l'adresse dans l'annuaire, ou appelez votre correspondant.",
		"The server of DOMAIN refused your message.",
		"Check the address in the directory, or call the recipient."}},
}

var tooLarge = cause{"Votre message dépasse la taille que DOMAIN accepte.",
	"Envoyez-le en plusieurs fois, ou avec des pièces jointes plus légères.",
	"Your message exceeds the size that DOMAIN accepts.",
	"Send it in several parts, or with lighter attachments."}

var unproven = cause{"Le serveur de DOMAIN n'a pas prouvé son identité. Votre message n'est pas parti.",
	"Prévenez votre opérateur si cela dure.",
	"The server of DOMAIN did not prove its identity. Your message was not sent.",
	"Tell your operator if this goes on."}

// explain finds the words for one recipient.
func explain(d DSN, r DSNRecipient) cause {
	c := outcome(d, r.Status)
	domain := strings.NewReplacer("DOMAIN", r.Final.Domain())
	c = cause{domain.Replace(c.fr), domain.Replace(c.fixFR), domain.Replace(c.en), domain.Replace(c.fixEN)}
	if d.Action == Failed && len(r.Present) > 0 {
		c.fixFR, c.fixEN = present(r.Present)
	}
	return c
}

// whys say what ties a present address to the one that failed.
var whys = map[string]struct{ fr, en string }{
	"replacement":       {"nommée par l'établissement", "named by the establishment"},
	"same-professional": {"même professionnel", "same professional"},
	"same-structure":    {"même service", "same department"},
	"near":              {"adresse voisine : vérifiez", "similar address: please check"},
}

// present is the one thing to do when the directory knows where the recipient is now.
func present(ps []DSNPresent) (fr, en string) {
	var frs, ens []string
	sure := false
	for _, p := range ps {
		shown, why := oneLine(p.Address), whys[p.Why]
		if p.Who != "" {
			shown += ", " + oneLine(p.Who)
		}
		sure = sure || p.Why != "near"
		if why.fr == "" { // a word that we do not have
			frs, ens = append(frs, shown), append(ens, shown)
			continue
		}
		frs, ens = append(frs, shown+" ("+why.fr+")"), append(ens, shown+" ("+why.en+")")
	}
	fr, en = "Adresse actuelle trouvée dans l'annuaire : ", "Present address found in the directory: "
	doFR, doEN := "Renvoyez votre message à cette adresse.", "Send your message again to that address."
	switch {
	case !sure:
		fr, en = "Trouvé dans l'annuaire : ", "Found in the directory: "
		doFR, doEN = "Si c'est votre correspondant, renvoyez-lui votre message.", "If it is your recipient, send your message again there."
	case len(ps) > 1:
		doFR, doEN = "Renvoyez votre message à la bonne adresse.", "Send your message again to the right address."
	}
	return fr + strings.Join(frs, " ; ") + ".\n" + doFR, en + strings.Join(ens, "; ") + ".\n" + doEN
}

func outcome(d DSN, status string) cause {
	switch d.Action {
	case Delivered:
		return cause{"Votre message a été remis.", "Vous n'avez rien à faire.",
			"Your message was delivered.", "There is nothing to do."}
	case Relayed:
		return cause{"Votre message a été remis au serveur de DOMAIN, qui ne confirme pas la suite.",
			"Vous n'avez rien à faire.",
			"Your message was handed to the server of DOMAIN, which does not confirm what follows.",
			"There is nothing to do."}
	case Delayed:
		return d.delay(status)
	}
	if _, rest, ok := strings.Cut(status, "."); ok {
		status = "." + rest
	}
	for _, c := range causes {
		if status == c.prefix || strings.HasSuffix(c.prefix, ".") && strings.HasPrefix(status, c.prefix) || c.prefix == "" {
			return c.cause
		}
	}
	return cause{} // not reached: the last prefix matches all
}

func (d DSN) delay(status string) cause {
	at := func(t time.Time) (fr, en string) {
		t = t.In(d.At.Location())
		return t.Format("02/01/2006 à 15 h 04"), t.Format("2006-01-02 at 15:04")
	}
	c := cause{"Pas encore remis : le serveur de DOMAIN ne répond pas.", "Inutile de renvoyer votre message.",
		"Not delivered yet: the server of DOMAIN does not answer.", "There is no need to send your message again."}
	switch {
	case strings.HasSuffix(status, ".2.2"):
		c.fr = "Pas encore remis : la boîte de votre correspondant est pleine."
		c.en = "Not delivered yet: the recipient's mailbox is full."
	case !strings.Contains(status, ".4."):
		c.fr = "Pas encore remis : le serveur de DOMAIN demande d'attendre."
		c.en = "Not delivered yet: the server of DOMAIN asks us to wait."
	}
	if !d.NextAt.IsZero() {
		fr, en := at(d.NextAt)
		c.fr, c.en = c.fr+" Prochain essai le "+fr+".", c.en+" Next attempt on "+en+"."
	}
	if !d.RetryUntil.IsZero() {
		fr, en := at(d.RetryUntil)
		c.fixFR, c.fixEN = "Nous réessayons jusqu'au "+fr+". "+c.fixFR, "We keep trying until "+en+". "+c.fixEN
	}
	return c
}
