package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"pli/certs"
	"pli/dossier"
	"pli/fault"
	"pli/internal/id"
	"pli/outbound"
)

// Finding is one thing looked at. Err is nil when it is well.
type Finding struct {
	What   string // in French, for the operator
	Detail string
	Err    error
}

// Examine looks at everything a house stands on, and goes on after a fault, so that
// the operator reads all of them at once.
func Examine(ctx context.Context, cfg Config) []Finding {
	var out []Finding
	add := func(what, detail string, err error) { out = append(out, Finding{what, detail, err}) }
	if problems := cfg.Check(); len(problems) > 0 {
		add("Réglages", "", errors.Join(problems...))
	} else {
		add("Réglages", "complets", nil)
	}
	out = append(out, examineCertificates(cfg))
	rooms, err := OpenRooms(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		add("Base, schéma et clés", "", err)
		return append(out, examineScanner(ctx, cfg))
	}
	defer rooms.Close()
	add("Base, schéma et clés", "ouverts", nil)
	return append(out, rooms.examineBlobs(ctx), rooms.examineTraces(ctx), rooms.examineQueue(ctx), rooms.examineJobs(ctx), rooms.examineQuarantine(ctx), rooms.examineNational(ctx), rooms.examinePublication(ctx), examineScanner(ctx, cfg))
}

func examineCertificates(cfg Config) Finding {
	f := Finding{What: "Certificats et liste blanche"}
	t, err := certs.Open(cfg.Certs.config(), slog.New(slog.DiscardHandler), time.Now)
	if err == nil {
		err = t.Check()
	}
	if f.Err = err; err == nil {
		f.Detail = "valables"
	}
	return f
}

// examineBlobs asks for a blob that cannot be there: the store must answer so.
func (r *Rooms) examineBlobs(ctx context.Context) Finding {
	f := Finding{What: "Contenus scellés", Detail: "le dépôt répond"}
	rc, err := r.Blobs.Open(ctx, id.New())
	if err == nil {
		rc.Close()
		err = errors.New("answers for a name that was never used")
	} else if fault.KindOf(err) == fault.NotFound {
		err = nil
	}
	f.Err = err
	return f
}

func (r *Rooms) examineTraces(ctx context.Context) Finding {
	report, err := r.Audit.Verify(ctx)
	f := Finding{What: "Traces", Detail: fmt.Sprintf("%d traces, %d chaînes, %d rupture(s)", report.Traces, report.Chains, len(report.Faults)), Err: err}
	if err == nil && len(report.Faults) > 0 {
		f.Err = fmt.Errorf("%d chains do not hold: pli audit verify", len(report.Faults))
	}
	return f
}

func (r *Rooms) examineQueue(ctx context.Context) Finding {
	q := outbound.New(outbound.Deps{DB: r.DB, Jobs: r.Jobs, Log: r.log, Now: r.now})
	all, overdue, err := q.Waiting(ctx)
	f := Finding{What: "Messages à faire partir", Detail: fmt.Sprintf("%d en attente, %d en retard", all, overdue), Err: err}
	if err == nil && overdue > 0 {
		f.Err = fmt.Errorf("%d items are overdue", overdue)
	}
	return f
}

func (r *Rooms) examineJobs(ctx context.Context) Finding {
	n, err := r.Jobs.Parked(ctx)
	f := Finding{What: "Tâches", Detail: fmt.Sprintf("%d abandonnée(s)", n), Err: err}
	if err == nil && n > 0 {
		f.Err = fmt.Errorf("%d jobs gave up and wait for an operator", n)
	}
	return f
}

// examineQuarantine tells what was not filed. It is no fault of the house: whoever sent
// it was told, and the message is in its BAL.
func (r *Rooms) examineQuarantine(ctx context.Context) Finding {
	const most = 1000
	list, err := r.Dossier.Quarantine(ctx, r.DB, most)
	f := Finding{What: "Documents en quarantaine", Detail: fmt.Sprint(len(list)), Err: err}
	if len(list) == most {
		f.Detail += " ou plus"
	}
	if len(list) > 0 {
		oldest := slices.MinFunc(list, func(a, b dossier.Quarantined) int { return a.CreatedAt.Compare(b.CreatedAt) })
		f.Detail += fmt.Sprintf(" ; le plus ancien : code %d, %s, lettre %s", oldest.Code, oldest.Cause, oldest.Letter)
	}
	return f
}

// examineNational tells how old the copies of the national directory are.
func (r *Rooms) examineNational(ctx context.Context) Finding {
	all, err := r.National.Freshness(ctx)
	f := Finding{What: "Annuaire national", Err: err}
	var said []string
	for _, d := range all {
		switch {
		case d.ImportedAt.IsZero():
			said = append(said, string(d.Dataset)+" : jamais importé")
		default:
			at := d.ExtractedAt
			if at.IsZero() { // the name of the file did not tell
				at = d.ImportedAt
			}
			said = append(said, fmt.Sprintf("%s : du %s", d.Dataset, at.Format("02/01/2006")))
			if d.Stale(r.now()) {
				f.Err = fmt.Errorf("%s is too old: pli directory reports", d.Dataset)
			}
		}
	}
	f.Detail = strings.Join(said, ", ")
	return f
}

// examinePublication tells what the national directory has not been told, or refused.
func (r *Rooms) examinePublication(ctx context.Context) Finding {
	waiting, parked, _, err := r.Publication.Counts(ctx)
	f := Finding{What: "Publication", Detail: fmt.Sprintf("%d en attente, %d refusée(s)", waiting, parked), Err: err}
	switch {
	case err != nil:
	case !r.Publication.Sends():
		f.Detail = "non configurée"
	case parked > 0:
		f.Err = fmt.Errorf("%d BAL were refused by the national directory: pli directory publication", parked)
	}
	return f
}

func examineScanner(ctx context.Context, cfg Config) Finding {
	f := Finding{What: "Antivirus"}
	if cfg.Scanner.Off {
		f.Detail = "éteint : les messages ne sont pas analysés"
		return f
	}
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, cfg.Scanner.Network, cfg.Scanner.Address)
	if err != nil {
		f.Err = err
		return f
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 5)
	if _, f.Err = c.Write([]byte("zPING\x00")); f.Err == nil {
		_, f.Err = io.ReadFull(c, b)
	}
	if f.Err == nil {
		f.Detail = "répond"
	}
	return f
}

// AskReady asks a running process of this configuration whether it is ready.
func AskReady(ctx context.Context, cfg Config) error {
	if cfg.Private.Listen == "" {
		return errors.New("private.listen is empty: nobody to ask")
	}
	host, port, err := net.SplitHostPort(cfg.Private.Listen)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("not ready: %s %s", resp.Status, why)
	}
	return nil
}
