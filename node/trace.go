package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"forebay/node/admin"
	"forebay/router"
	"forebay/router/dedupe"
	"forebay/shipper"
	"forebay/shipper/clickhouse"
	"forebay/shipper/columns"
	"forebay/shipper/session"
	"forebay/wal"
	"forebay/wal/record"
)

// Trace implements admin.Node: it follows one event from the request that
// brought it to its destinations, which it asks. By key it looks through the
// digests in the headers of the whole log.
func (n *Node) Trace(ctx context.Context, q admin.TraceQuery) (t admin.Trace, err error) {
	stats := n.log.Stats()
	t = admin.Trace{
		Events:   []admin.TracedEvent{},
		Searched: admin.Searched{FirstSeq: stats.FirstSeq, LastSeq: stats.DurableSeq, Since: stats.OldestTime},
	}
	if q.Seq > 0 {
		if q.Seq > stats.DurableSeq {
			t.Answer = fmt.Sprintf("no event has this seq yet: the newest is %d", stats.DurableSeq)
			return t, nil
		}
		err = n.traceSeq(&t, q.Seq)
	} else {
		err = n.traceKey(ctx, &t, q)
	}
	if err != nil {
		return t, fmt.Errorf("trace: %w", err)
	}
	for i := range t.Events {
		if err := n.follow(ctx, &t.Events[i]); err != nil {
			return t, fmt.Errorf("trace seq %d: %w", t.Events[i].Seq, err)
		}
	}
	t.Found = slices.ContainsFunc(t.Events, func(e admin.TracedEvent) bool { return e.Block != nil })
	t.Answer = answer(&t, q)
	return t, nil
}

// answer says in one sentence what a trace came to.
func answer(t *admin.Trace, q admin.TraceQuery) string {
	s := t.Searched
	switch {
	case t.Found && len(t.Events) > 1:
		return fmt.Sprintf("the key was stored %d times", len(t.Events))
	case t.Found:
		return fmt.Sprintf("accepted as seq %d", t.Events[0].Seq)
	case q.Seq > 0:
		return fmt.Sprintf("seq %d is not in the log: %s", q.Seq, t.Events[0].Gone.Reason)
	case len(t.Drops) > 0:
		return "not in the log, and dropped: " + t.Drops[len(t.Drops)-1].Reason
	case len(s.Projects) == 0:
		return "the projects are not known: name the key's with --project"
	}
	return fmt.Sprintf("not among seqs %d to %d of projects %s: it never came, was dropped before the last %d drops, or was removed by retention; "+
		"the table's idempotency_key reaches further back", s.FirstSeq, s.LastSeq, strings.Join(s.Projects, ", "), s.Drops)
}

func (n *Node) traceSeq(t *admin.Trace, seq uint64) error {
	b, gone, err := shipper.Block(n.log, seq)
	if err != nil {
		return err
	}
	if b == nil {
		t.Events = append(t.Events, admin.TracedEvent{Seq: seq, LogID: n.log.ID().String(), Gone: gone})
		return nil
	}
	return n.unpack(t, b, func(e shipper.Event, _ string) bool { return e.Seq == seq })
}

func (n *Node) traceKey(ctx context.Context, t *admin.Trace, q admin.TraceQuery) (err error) {
	t.Searched.Projects = []string{q.Project}
	if q.Project == "" {
		t.Searched.Projects = n.knownProjects()
	}
	hasher := dedupe.NewHasher(n.log.ID())
	digests := map[uint64]string{}
	for _, project := range t.Searched.Projects {
		digests[hasher.Digest(project, q.Key)] = project
	}
	if n.router != nil {
		drops := n.router.Drops(maxTracedDrops)
		t.Searched.Drops = len(drops)
		t.Drops = slices.DeleteFunc(drops, func(d router.Drop) bool {
			return d.IdempotencyDigest == dedupe.NoKey || digests[d.IdempotencyDigest] != d.Project
		})
	}
	t.Damaged, err = n.log.Find(ctx, admin.MaxTraced, func(_ wal.Header, in []uint64) bool { return meets(in, digests) },
		func(b *wal.Block) error {
			return n.unpack(t, b, func(e shipper.Event, key string) bool {
				return key == q.Key && slices.Contains(t.Searched.Projects, e.Project)
			})
		})
	return err
}

// maxTracedDrops is more than the router keeps.
const maxTracedDrops = 10_000

// meets tells whether one of a block's digests is wanted. Most often a single
// one is, and ten million are compared.
func meets(in []uint64, wanted map[uint64]string) bool {
	if len(wanted) == 1 {
		for digest := range wanted {
			return slices.Contains(in, digest)
		}
	}
	return slices.ContainsFunc(in, func(digest uint64) bool { _, is := wanted[digest]; return is })
}

// knownProjects are those that the ledger counts by name.
func (n *Node) knownProjects() []string {
	var saved savedTally
	if n.router != nil {
		saved.Tally = n.router.Tally()
	} else if _, err := n.state.LoadJSON(ledgerKey, &saved); err != nil {
		return nil // the answer says so
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(saved.Tally.Projects)), func(p string) bool { return p == "" || p == router.OtherProjects })
}

// unpack adds the events of a block that are wanted.
func (n *Node) unpack(t *admin.Trace, b *wal.Block, wanted func(e shipper.Event, key string) bool) error {
	block := admin.TracedBlock{Number: b.Number, File: b.File, Offset: b.Offset, FirstSeq: b.FirstSeq, Events: int(b.Events)}
	var found []admin.TracedEvent
	for first, entry := range b.Entries() {
		block.Requests++
		batch, err := record.Decode(entry.Data)
		if err != nil {
			return fmt.Errorf("read the request at seq %d: %w", first, err)
		}
		for i, e := range batch.Events {
			event := shipper.Event{Seq: first + uint64(i), LogID: b.LogID, ReceivedAt: b.Time, Project: batch.Project, Session: e.Session, Raw: e.Raw}
			row, err := columns.Decode(event, "")
			if err != nil {
				row = columns.Row{} // it became a dead letter, and is traced by its seq all the same
			}
			if !wanted(event, row.IdempotencyKey) {
				continue
			}
			found = append(found, admin.TracedEvent{
				Seq: event.Seq, LogID: b.LogID.String(), ReceivedAt: b.Time.UTC(), Project: batch.Project, Session: e.Session,
				EventType: row.EventType, IdempotencyKey: row.IdempotencyKey,
				Request: &admin.TracedRequest{FirstSeq: first, Events: len(batch.Events), SDKVersion: batch.SDKVersion, AppID: batch.AppID},
			})
		}
	}
	for _, e := range found {
		e.Block = &block
		t.Events = append(t.Events, e)
	}
	return nil
}

// follow adds what became of an event at each destination.
func (n *Node) follow(ctx context.Context, e *admin.TracedEvent) error {
	e.Cursors = []shipper.Fate{}
	for _, c := range n.cursors.All() {
		fate, err := c.Fate(e.Seq)
		if err != nil {
			return err
		}
		switch c.Name() {
		case clickhouseCursor:
			e.ClickHouse = n.findRow(ctx, e)
		case sessionCursor:
			if e.Session != "" {
				e.Receiver = n.askMarks(ctx, e)
				err = passedMark(c, e, &fate)
			}
		}
		if err != nil {
			return err
		}
		e.Cursors = append(e.Cursors, fate)
	}
	return nil
}

// passedMark corrects the fate of an event that was delivered ahead of the
// cursor's position, which the slowest session holds.
func passedMark(c *shipper.Cursor, e *admin.TracedEvent, fate *shipper.Fate) error {
	if fate.State != shipper.Pending {
		return nil
	}
	to, err := session.DeliveredTo(c, e.Project, e.Session)
	if err == nil && e.Seq <= to {
		fate.State, fate.Ahead = shipper.Shipped, 0
	}
	return err
}

func (n *Node) findRow(ctx context.Context, e *admin.TracedEvent) *admin.TracedRow {
	rows, err := clickhouse.Find(ctx, ClickHouseOptions(n.cfg), e.LogID, e.Seq, e.ReceivedAt)
	row := &admin.TracedRow{Rows: rows}
	if err != nil {
		row.Error = err.Error()
	}
	return row
}

func (n *Node) askMarks(ctx context.Context, e *admin.TracedEvent) *admin.TracedMarks {
	asked := &admin.TracedMarks{Offered: true}
	marks, err := session.NewMarks(sessionOptions(n.cfg))
	if err == nil {
		defer marks.Close()
		asked.Marks, err = marks.Of(ctx, e.Project, e.Session)
	}
	switch {
	case errors.Is(err, session.ErrMarksNotOffered):
		asked.Offered = false
	case err != nil:
		asked.Error = err.Error()
	}
	return asked
}
