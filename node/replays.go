package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"forebay/shipper"
	"forebay/shipper/clickhouse"
	"forebay/shipper/columns"
	"forebay/shipper/session"
)

// Replays run beside the live cursors, in batches small enough not to disturb
// them. One into ClickHouse holds at most two batches; one into a Session Manager
// replayHeld bytes and the batch being read.
const (
	replayRows  = 10_000
	replayBytes = 8 << 20
	replayHeld  = 16 << 20
	replayLanes = 8
	replayAge   = time.Second // of reading for one batch
)

// openReplays loads the replays that have not ended. The node runs them.
func (n *Node) openReplays() (err error) {
	n.replays, err = shipper.NewReplays(n.cursors, shipper.ReplayOptions{
		Open: n.openDestination, Live: n.liveCursor, TypeOf: columns.EventType,
		Reserved: []string{clickhouseCursor, sessionCursor, archiveCursor},
	})
	return err
}

// openDestination makes the sink of a replay: that of the live cursor, with
// what the replay says otherwise.
func (n *Node) openDestination(d shipper.Destination) (shipper.Sink, shipper.Flush, error) {
	if err := checkDestination(d); err != nil {
		return nil, shipper.Flush{}, err
	}
	logger := n.logger.With("part", "replay", "into", d.Into)
	if d.Into == sessionCursor {
		o := n.replaySession(d)
		o.Logger = logger
		sink, err := session.New(o)
		return sink, shipper.Flush{Rows: sessionFlush.Rows, Bytes: sessionFlush.Bytes, Age: replayAge}, err
	}
	o := n.replayTable(d)
	o.Logger = logger
	o.Clock = n.log
	sink, err := clickhouse.New(o)
	f := n.config().Shippers.ClickHouse.Flush
	return sink, shipper.Flush{Rows: min(f.Rows, replayRows), Bytes: min(int64(f.Bytes), replayBytes), Age: replayAge}, err
}

func checkDestination(d shipper.Destination) error {
	switch {
	case d.Into != clickhouseCursor && d.Into != sessionCursor:
		return fmt.Errorf("into %q: say clickhouse or session", d.Into)
	case d.Into == clickhouseCursor && d.URL != "":
		return errors.New("a url belongs to a Session Manager; ClickHouse has addrs, a database and a table")
	case d.Into == sessionCursor && (len(d.Addrs) > 0 || d.Database != "" || d.Table != ""):
		return errors.New("a Session Manager has a url; addrs, database and table belong to ClickHouse")
	}
	return nil
}

// replayTable is the configured table, or another. The password goes to
// addresses that the configuration names, and no others: who may ask for a
// replay must not be able to have it sent elsewhere.
func (n *Node) replayTable(d shipper.Destination) clickhouse.Options {
	o := ClickHouseOptions(n.cfg)
	if len(d.Addrs) > 0 {
		trusted := slices.Concat(o.Addrs, n.cfg.Shippers.ClickHouse.ReplayAddrs)
		if slices.ContainsFunc(d.Addrs, func(a string) bool { return !slices.Contains(trusted, a) }) {
			o.PasswordFile = ""
		}
		o.Addrs = d.Addrs
	}
	database, table := o.Database, o.Table
	if d.Database != "" {
		o.Database = d.Database
	}
	if d.Table != "" {
		o.Table = d.Table
	}
	if r := o.Replicated; r != nil && r.Path != "" && (o.Database != database || o.Table != table) {
		o.CreateTable = false // its path in the Keeper is that of the configured table
	}
	return o
}

// replaySession is the configured Session Manager, or another. The token goes
// to URLs that the configuration names, and no others. A session that fails is tried for
// ever: a replay has no dead letters to queue it in.
func (n *Node) replaySession(d shipper.Destination) session.Options {
	o := sessionOptions(n.cfg)
	if !n.sameURL(d) {
		o.URL = d.URL
		if !slices.ContainsFunc(n.cfg.Shippers.Session.ReplayURLs, func(u string) bool { return sameBase(u, d.URL) }) {
			o.TokenFile = ""
		}
	}
	o.Lanes, o.MaxHeldBytes, o.ParkedMaxAge, o.Beside = min(o.Lanes, replayLanes), replayHeld, 0, true
	return o
}

func (n *Node) sameURL(d shipper.Destination) bool {
	return d.URL == "" || sameBase(d.URL, n.cfg.Shippers.Session.URL)
}

func sameBase(a, b string) bool { return strings.TrimRight(a, "/") == strings.TrimRight(b, "/") }

// liveCursor names the cursor that fills the same destination.
func (n *Node) liveCursor(d shipper.Destination) string {
	c := ClickHouseOptions(n.cfg)
	switch {
	case d.Into == sessionCursor && n.cfg.Shippers.Session.Enabled && n.sameURL(d):
		return sessionCursor
	case d.Into == clickhouseCursor && n.cfg.Shippers.ClickHouse.Enabled &&
		(d.Database == "" || d.Database == c.Database) && (d.Table == "" || d.Table == c.Table) &&
		(len(d.Addrs) == 0 || slices.ContainsFunc(d.Addrs, func(a string) bool { return slices.Contains(c.Addrs, a) })):
		return clickhouseCursor
	}
	return ""
}

// unendedReplays are for the status.
func (n *Node) unendedReplays() []shipper.Replay {
	all, err := n.replays.All()
	if err != nil {
		n.logger.Warn("the refusals of a replay cannot be read", "err", err)
	}
	return slices.DeleteFunc(append([]shipper.Replay{}, all...), func(r shipper.Replay) bool { return r.Over() })
}
