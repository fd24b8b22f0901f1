package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/router/auth"
	"forebay/router/auth/file"
	"forebay/router/auth/postgres"
	"forebay/shipper/clickhouse"
	"forebay/shipper/session"
)

func doubtfulClock(doubt string) Finding {
	return broken("clock", clockRemedy, "%s: timestamps are not checked until it is right", doubt)
}

// clock is what can be told of it without the log.
func (d *doctor) clock(context.Context) []Finding {
	const check = "clock"
	now := time.Now()
	if doubt := clockDoubt(now, d.built, time.Time{}); doubt != "" {
		return []Finding{doubtfulClock(doubt)}
	}
	kept, known, maxError := synchronised()
	switch {
	case !known:
		return []Finding{fine(check, "%s; whether something keeps it is not known here", now.UTC().Format(time.RFC3339))}
	case !kept:
		return []Finding{doubtful(check, "start a time service (chronyd, systemd-timesyncd); in a container look at its host", "%s, and the kernel does not know it to be synchronised", now.UTC().Format(time.RFC3339))}
	}
	return []Finding{fine(check, "%s, synchronised to within %s", now.UTC().Format(time.RFC3339), time.Duration(maxError)*time.Microsecond)}
}

// keys looks at where they come from, and holds it against what the running node
// sees: it may stand on a connection, or a configuration, of before.
func (d *doctor) keys(ctx context.Context) []Finding {
	findings := d.keySource(ctx)
	s, err := d.status(ctx)
	if err != nil {
		return findings // it does not run, or the finding about the running node says why
	}
	failed := slices.ContainsFunc(findings, func(f Finding) bool { return f.State == FindingFail })
	return append(findings, keysDiffer(failed, s.Keys)...)
}

// keysDiffer tells where the doctor's own look, which failed or not, and the running
// node's view of the keys are not the same.
func keysDiffer(failed bool, k admin.KeyStatus) []Finding {
	const check = "keys: node and doctor"
	switch {
	case failed && k.Answered && k.LastError == "":
		return []Finding{doubtful(check, "mend what is named above before the node has to connect anew; run doctor as the node's user",
			"the running node has %d keys, %s old, from the source that could not be read here: it goes on with a connection or a configuration of before", k.Count, time.Duration(k.AgeSeconds*float64(time.Second)).Round(time.Second))}
	case !failed && (!k.Answered || k.LastError != "" && k.AgeSeconds > 3*postgres.DefaultSweepInterval.Seconds()):
		reason := k.LastError
		if reason == "" {
			reason = "it has had no answer since its start"
		}
		return []Finding{broken(check, "wait half a minute for the node to read its connection string again; if it stays so, look at the node's user, environment and network: they are not those of this command",
			"the source can be read here, but not by the running node: %s", reason)}
	}
	return nil
}

func (d *doctor) keySource(ctx context.Context) []Finding {
	if d.cfg.Keys.Source == config.KeysFile {
		return d.keyFile()
	}
	const check, mend = "PostgreSQL", "mend keys.postgres, PostgreSQL, or the way to it; the node runs on cached keys up to keys.max_stale"
	dsn, err := d.cfg.Keys.Postgres.ReadDSN()
	if err != nil {
		return []Finding{broken(check, "write the connection string into the file", "%v", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*examineTimeout)
	defer cancel()
	e, err := postgres.Examine(ctx, dsn)
	if err != nil {
		return []Finding{broken(check, mend, "%s", strings.Join(strings.Fields(err.Error()), " "))} // pgx breaks its errors into lines
	}
	findings := []Finding{fine(check, "version %s answers", e.Server)}
	switch {
	case e.Schema == 0:
		return append(findings, broken("key table", "forebay keys create --project NAME creates it", "there is no table forebay_api_keys"))
	case e.Schema > e.Known:
		findings = append(findings, broken("key table", "use a newer forebay", "it has version %d, this program knows up to %d", e.Schema, e.Known))
	case e.Schema < e.Known:
		findings = append(findings, doubtful("key table", "any forebay keys command upgrades it", "it has version %d, this program knows %d", e.Schema, e.Known))
	}
	if e.InForce == 0 {
		findings = append(findings, doubtful("key table", "forebay keys create --project NAME", "%d keys, none in force: every request is dropped", e.Keys))
	} else {
		findings = append(findings, fine("key table", "%d keys, %d in force", e.Keys, e.InForce))
	}
	switch {
	case !e.Trigger:
		findings = append(findings, doubtful("key changes", "create the trigger of forebay_api_keys again (see the migration in router/auth/postgres)",
			"the table's trigger is not there: a revoked key is noticed after up to %s", postgres.DefaultSweepInterval))
	case !e.Notified:
		findings = append(findings, doubtful("key changes", "connect to the primary itself, not through a transaction pooler",
			"notifications do not arrive (%s): a revoked key is noticed after up to %s", strings.Join(strings.Fields(e.Unheard), " "), postgres.DefaultSweepInterval))
	default:
		findings = append(findings, fine("key changes", "notifications arrive"))
	}
	return findings
}

func (d *doctor) keyFile() []Finding {
	const check = "key file"
	path := d.cfg.Keys.File.Path
	dir := auth.NewDirectory(0)
	source := file.NewSource(path, slog.New(slog.DiscardHandler))
	if err := source.Load(dir); err != nil {
		return []Finding{broken(check, "forebay keys create --file "+path+" --project NAME makes one; correct what is named", "%v", err)}
	}
	var findings []Finding
	if wrong := source.Stats().LastError; wrong != "" {
		findings = append(findings, doubtful(check, "correct what is named", "%s", wrong))
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o002 != 0 {
		findings = append(findings, broken(check, "chmod o-w "+path, "every user of this machine may add keys to %s (%s)", path, info.Mode().Perm()))
	}
	inForce := 0
	all, _ := dir.Keys()
	for _, key := range all {
		if key.Active(time.Now()) {
			inForce++
		}
	}
	if inForce == 0 {
		return append(findings, doubtful(check, "forebay keys create --file "+path+" --project NAME", "%d keys, none in force: every request is dropped", len(all)))
	}
	return append(findings, fine(check, "%d keys, %d in force", len(all), inForce))
}

// clickhouse asks every address.
func (d *doctor) clickhouse(ctx context.Context) (findings []Finding) {
	if !d.cfg.Shippers.ClickHouse.Enabled {
		return nil
	}
	o := ClickHouseOptions(d.cfg)
	o.DialTimeout, o.ReadTimeout = min(o.DialTimeout, examineTimeout), min(o.ReadTimeout, examineTimeout)
	all, err := clickhouse.Examine(ctx, o)
	if err != nil {
		return []Finding{broken("ClickHouse", "mend shippers.clickhouse", "%v", err)}
	}
	for _, e := range all {
		check := "ClickHouse " + e.Addr
		if e.Err != nil {
			remedy := e.Advice
			if remedy == "" {
				remedy = "mend the server, shippers.clickhouse.addrs, or the way between; events wait in the log meanwhile"
			}
			findings = append(findings, broken(check, remedy, "%v", e.Err))
			continue
		}
		findings = append(findings, fine(check, "version %s takes rows for %s.%s", e.Version, o.Database, o.Table))
		for _, u := range e.Unstored {
			findings = append(findings, broken("schema", u.Remedy, "%s.%s on %s: %s", o.Database, o.Table, e.Addr, u))
		}
		if len(e.Missing) > 0 {
			findings = append(findings, doubtful(check, "forebay schema plan shows the statements that change it", "%s", strings.Join(e.Missing, "; ")))
		}
		if strings.HasPrefix(e.Tokens, "no") {
			findings = append(findings, doubtful(check, "nothing is lost or doubled for good; a current server with a deduplication window needs fewer reads", "deduplication tokens: %s", e.Tokens))
		}
	}
	return findings
}

// sessionManager asks it, without an event.
func (d *doctor) sessionManager(ctx context.Context) []Finding {
	if !d.cfg.Shippers.Session.Enabled {
		return nil
	}
	const check = "Session Manager"
	o := sessionOptions(d.cfg)
	o.Timeout = examineTimeout
	e, err := session.Examine(ctx, o)
	switch {
	case err != nil:
		return []Finding{broken(check, "mend shippers.session", "%v", err)}
	case e.Err != nil:
		return []Finding{broken(check, e.Advice, "%v", e.Err)}
	case e.Marks:
		return []Finding{fine(check, "%s answers questions for marks as the contract says", o.URL)}
	case e.MarksErr != nil:
		return []Finding{doubtful(check, "mend its GET /v1/sessions/marks; only traces and audits ask for it", "%v", e.MarksErr)}
	}
	return []Finding{fine(check, "%s answers (%d to a GET where events are posted); whether it takes events shows with the first", o.URL, e.Status)}
}

// archive tries to write where its files go.
func (d *doctor) archive(context.Context) []Finding {
	if !d.cfg.Shippers.Archive.Enabled {
		return nil
	}
	const check = "archive"
	dir := existing(d.cfg.Shippers.Archive.Dir)
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return []Finding{broken(check, "give this user the right to write there, or mend shippers.archive.dir", "%v", err)}
	}
	return []Finding{fine(check, "%s can be written", dir)}
}

// freePorts tries the addresses that a node will listen on.
func (d *doctor) freePorts(context.Context) []Finding {
	findings := []Finding{freePort("ingest.listen", d.cfg.Ingest.Listen)}
	if path, ok := strings.CutPrefix(d.cfg.Admin.Listen, "unix:"); ok {
		return append(findings, freeSocket("admin.listen", path))
	}
	return append(findings, freePort("admin.listen", d.cfg.Admin.Listen))
}

func freePort(check, addr string) Finding {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return broken(check, "stop what listens there (ss -ltnp), or choose another port", "%s is in use, and not by this node", addr)
	case errors.Is(err, syscall.EACCES):
		return broken(check, "choose a port from 1024 on, or give the program CAP_NET_BIND_SERVICE", "%v", err)
	case err == nil:
		err = l.Close()
	}
	if err != nil {
		return broken(check, "name an address of this machine", "%v", err)
	}
	return fine(check, "%s is free", addr)
}

// freeSocket tells whether a socket can be made at path. One that a killed node
// has left is replaced at the start.
func freeSocket(check, path string) Finding {
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close() // nothing was said
		return broken(check, "stop what listens there, or choose another path", "%s is in use, and not by this node", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".doctor-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return broken(check, "make the folder, and give this user the right to write there", "%v", err)
	}
	return fine(check, "%s can be made", path)
}

// door connects to the front door of a running node.
func (d *doctor) door(ctx context.Context) Finding {
	const check = "ingest.listen"
	addr := d.cfg.Ingest.Listen
	if host, port, err := net.SplitHostPort(addr); err == nil && (host == "" || net.ParseIP(host).IsUnspecified()) {
		addr = net.JoinHostPort("localhost", port)
	}
	conn, err := (&net.Dialer{Timeout: examineTimeout}).DialContext(ctx, "tcp", addr)
	if err == nil {
		err = conn.Close()
	}
	if err != nil {
		return broken(check, "was ingest.listen changed since the node was started? Then restart it", "the node runs, and its front door cannot be reached: %v", err)
	}
	return fine(check, "%s takes connections", addr)
}

// expiresSoon is when a certificate is worth a word.
const expiresSoon = 14 * 24 * time.Hour

// certificate reads the front door's.
func (d *doctor) certificate(context.Context) []Finding {
	const check = "ingest.tls"
	c := d.cfg.Ingest.TLS
	if !c.Enabled() {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return []Finding{broken(check, "put a certificate and the key that belongs to it into the files", "%v", err)}
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return []Finding{broken(check, "put a certificate and the key that belongs to it into the files", "%v", err)}
	}
	text := fmt.Sprintf("valid from %s to %s", leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339))
	switch now := time.Now(); {
	case now.Before(leaf.NotBefore) || now.After(leaf.NotAfter):
		return []Finding{broken(check, "renew the certificate, or mend the clock; a running node reads it again by itself", "%s, which is not now", text)}
	case leaf.NotAfter.Sub(now) < expiresSoon:
		return []Finding{doubtful(check, "renew the certificate; a running node reads it again by itself", "%s, which is soon over", text)}
	}
	return []Finding{fine(check, "%s", text)}
}
