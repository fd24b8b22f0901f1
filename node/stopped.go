package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"time"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/shipper"
)

// Stopped is a node that does not run, opened so that operators can look at
// it and move its cursors. The log is only read.
type Stopped struct{ node *Node }

// ErrNeverRan is returned for a data directory in which no node has run.
var ErrNeverRan = errors.New("no node has run here")

// OpenStopped opens the data directory of a node that does not run, and makes
// none. It returns ErrRunning if the node does run, ErrNeverRan if none has.
func OpenStopped(cfg config.Config, version string) (_ *Stopped, err error) {
	dir := dataDir{path: cfg.Node.DataDir}
	if isMissing(dir.logDir()) && isMissing(dir.stateDir()) {
		return nil, fmt.Errorf("node.data_dir %s holds neither log nor state (is it the right one? forebay run makes them): %w", cfg.Node.DataDir, ErrNeverRan)
	}
	n := newNode(cfg, Options{Version: version})
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	n.readOnly = true
	for _, step := range []func() error{n.openDir, n.openState, n.openLog, n.openKeyring, n.openStoppedCursors, n.openReplays, n.openAudits, n.openDropMemory} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &Stopped{n}, nil
}

func isMissing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// Handler is the admin API over the stopped node.
func (s *Stopped) Handler() http.Handler {
	n := s.node
	return admin.NewHandler(admin.Options{Node: s, Log: n.log, LogDir: n.dir.logDir(), Cursors: n.cursors, Replays: n.replays, Audits: n.audits, DropMemory: n.drops.memory, Privacy: n.privacyChecker, Keys: n.keyring})
}

// Close gives up the data directory.
func (s *Stopped) Close() error { return s.node.close() }

// Checks implements admin.Node.
func (s *Stopped) Checks() []admin.Check {
	return []admin.Check{{Name: "accept", Reason: "the node is stopped"}}
}

// History implements admin.Node: nothing is measured.
func (s *Stopped) History() admin.History { return admin.History{Points: []admin.Sample{}} }

// Drain implements admin.Node: there is nothing to drain.
func (s *Stopped) Drain(admin.DrainRequest) error {
	return fmt.Errorf("%w: the node is stopped, so it takes no traffic", shipper.ErrRefused)
}

// Status implements admin.Node, as far as a stopped node has one.
func (s *Stopped) Status() admin.Status {
	n := s.node
	log := n.log.Stats()
	st := admin.Status{
		NodeID: n.cfg.Node.ID, LogID: n.log.ID().String(), Version: n.version, Checks: s.Checks(),
		Log: admin.LogStatus{
			FirstSeq: log.FirstSeq, DurableSeq: log.DurableSeq, Segments: log.Segments, Bytes: log.Bytes, RewindTo: log.OldestTime,
		},
		Cursors: n.cursorStatus(), Replays: n.unendedReplays(),
		Keys: n.keyring.status(),
	}
	var saved savedTally
	switch found, err := n.state.LoadJSON(ledgerKey, &saved); {
	case err != nil:
		st.Checks = append(st.Checks, admin.Check{Name: "ledger", Reason: err.Error()})
		return st
	case !found: // a first start failed before it could count anything
		saved = savedTally{Skipped: log.DurableSeq, Clean: true}
	}
	st.Ledger = saved.snapshot(log.DurableSeq, st.Cursors)
	return st
}

// Trace implements admin.Node. Its destinations are asked, too.
func (s *Stopped) Trace(ctx context.Context, q admin.TraceQuery) (admin.Trace, error) {
	return s.node.Trace(ctx, q)
}

// openStoppedCursors makes the cursors without their sinks: nothing is
// delivered.
func (n *Node) openStoppedCursors() (err error) {
	n.cursors, err = shipper.NewCursors(shipper.Options{Log: n.log, State: n.state})
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name    string
		enabled bool
	}{
		{clickhouseCursor, n.cfg.Shippers.ClickHouse.Enabled},
		{sessionCursor, n.cfg.Shippers.Session.Enabled},
		{archiveCursor, n.cfg.Shippers.Archive.Enabled},
	} {
		if !c.enabled {
			continue
		}
		if _, err := n.cursors.Add(c.name, idle{}, shipper.Flush{Rows: 1, Bytes: 1, Age: time.Second}); err != nil {
			return err
		}
	}
	return nil
}

// idle is a sink that delivers nothing.
type idle struct{}

func (idle) Ship(ctx context.Context, _ *shipper.Feed) error {
	<-ctx.Done()
	return ctx.Err()
}
