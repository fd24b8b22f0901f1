package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"forebay/shipper"
)

// Bounds of one question of an audit. A bucket is a piece of it that is looked
// at more closely if its counts are not right.
const (
	questionSeqs   = 1_000_000
	questionRanges = 100
	bucketSeqs     = 50_000
)

// Prover asks the table for rows that were inserted. It is a shipper.Prover.
type Prover struct {
	opts   Options
	server *server // nil before Reach
}

// NewProver checks the options; no server is asked before Reach.
func NewProver(o Options) (*Prover, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Prover{opts: o}, nil
}

// Close ends the connection. Nothing may be under way.
func (p *Prover) Close() {
	if p.server != nil {
		p.server.close()
	}
}

// Reach connects to the first address that answers and learns the table, which
// needs the columns log_id, seq and received_at and no other. The time is that
// before which its TTL may have taken rows.
func (p *Prover) Reach(ctx context.Context) (time.Time, error) {
	srv, err := p.reachAny(ctx)
	if err != nil {
		return time.Time{}, err
	}
	p.Close()
	p.server = srv
	if keeps := srv.table.keeps(); keeps > 0 {
		now, err := srv.now(ctx)
		return now.Add(-keeps), err
	}
	return time.Time{}, nil
}

// Notes name the columns that the table does not keep: an audit compares seqs,
// so that it finds an event whose values are missing.
func (p *Prover) Notes() []string {
	var lines []string
	for _, u := range lacking(p.opts.unstored(p.server.table)) {
		lines = append(lines, u.String()+"; "+u.Remedy)
	}
	return lines
}

func (p *Prover) reachAny(ctx context.Context) (*server, error) {
	var errs []error
	for _, addr := range p.opts.Addrs {
		srv, err := p.reach(ctx, addr)
		if err == nil {
			return srv, nil
		}
		errs = append(errs, err)
	}
	return nil, forOperator(worst(errs))
}

// reach connects to addr, and changes nothing there.
func (p *Prover) reach(ctx context.Context, addr string) (_ *server, err error) {
	conn, err := p.opts.dial(ctx, addr)
	if err != nil {
		return nil, about(addr, explain(err))
	}
	srv := &server{addr: addr, conn: conn, timeout: p.opts.ReadTimeout}
	defer func() {
		if err != nil {
			srv.close()
		}
	}()
	if err := srv.learnServer(ctx); err != nil {
		return nil, err
	}
	srv.table, err = srv.inspect(ctx, p.opts.Database, p.opts.Table)
	if err != nil {
		return nil, err
	}
	return srv, p.opts.provable(srv.table)
}

// provable returns an *operatorError if the table does not tell which events it
// has.
func (o Options) provable(t table) error {
	name := o.Database + "." + o.Table
	if !t.exists() {
		return &operatorError{
			"create the table (forebay schema apply), or mend shippers.clickhouse.database and table, or grant user " + o.Username + " SELECT on it",
			fmt.Errorf("table %s does not exist, or user %s may not see it", name, o.Username),
		}
	}
	var lacking []string
	for _, column := range []string{"log_id", "seq", "received_at"} {
		if _, has := t.columns[column]; !has {
			lacking = append(lacking, column)
		}
	}
	if lacking != nil {
		return &operatorError{
			"add what is missing (forebay schema plan)",
			fmt.Errorf("table %s has no column %s: an audit finds events by log_id, seq and received_at", name, strings.Join(lacking, ", ")),
		}
	}
	return nil
}

// forOperator makes a *shipper.PauseError of what does not pass by itself.
func forOperator(err error) error {
	if c, advice := classify(err); c == needsOperator {
		return &shipper.PauseError{Reason: advice, Err: err}
	}
	return err
}

// Begin implements shipper.Prover.
func (p *Prover) Begin() shipper.Question { return &question{prover: p} }

// question is for the rows of one log and one day, which is a partition.
type question struct {
	prover *Prover
	span   span
	day    int64
	count  uint64
}

// Take implements shipper.Question.
func (q *question) Take(e shipper.Event) bool {
	s, id, ms := &q.span, e.LogID.String(), e.ReceivedAt.UnixMilli()
	last := len(s.seqs) - 1
	follows := last >= 0 && s.seqs[last].Last+1 == e.Seq
	switch {
	case last < 0:
		s.logID, s.from, s.until, q.day = id, ms, ms, day(e)
	case id != s.logID, day(e) != q.day, q.count >= questionSeqs, !follows && last+1 >= questionRanges:
		return false
	}
	q.count++
	s.from, s.until = min(s.from, ms), max(s.until, ms)
	if follows {
		s.seqs[last].Last = e.Seq
	} else {
		s.seqs = append(s.seqs, shipper.Range{First: e.Seq, Last: e.Seq})
	}
	return true
}

// Ask implements shipper.Question: one query counts by buckets, and only those
// that do not hold each row once are read seq by seq; each on one core of the
// server.
func (q *question) Ask(ctx context.Context) (f shipper.Findings, err error) {
	srv := q.prover.server
	if srv == nil {
		return f, errors.New("BUG: Ask before Reach")
	}
	ctx = driver.Context(ctx, driver.WithSettings(driver.Settings{"max_threads": 1}))
	found, err := srv.counts(ctx, q.span)
	if err != nil {
		return f, forOperator(err)
	}
	for _, bucket := range q.span.buckets() {
		have, want := found[bucket.number()], bucket.size()
		if have.rows == want && have.seqs == want {
			continue
		}
		if err := q.look(ctx, bucket, have, &f); err != nil {
			return f, forOperator(err)
		}
	}
	return f, nil
}

// look names what is wrong with a bucket.
func (q *question) look(ctx context.Context, bucket span, have counted, f *shipper.Findings) error {
	srv := q.prover.server
	if have.seqs < bucket.size() {
		if err := srv.unhealed(ctx, bucket.logID); err != nil {
			return err
		}
	}
	now, err := srv.present(ctx, bucket, "")
	if err != nil {
		return err
	}
	missing, doubles, lasting := now.lacks(bucket.seqs), now.doubles, now.doubles
	if len(doubles) > 0 && strings.Contains(srv.table.engine, "Replacing") {
		merged, err := srv.present(ctx, bucket, "FINAL")
		if err != nil {
			return err
		}
		lasting = merged.doubles
	}
	if missing, err = q.elsewhere(ctx, bucket, missing); err != nil {
		return err
	}
	f.Missing = append(f.Missing, missing...)
	f.Doubles = append(f.Doubles, ranges(doubles)...)
	f.Lasting = append(f.Lasting, ranges(lasting)...)
	return nil
}

// unhealed returns an error while the server still works on what an audit before
// has sent: its rows would appear after they were missed.
func (c *server) unhealed(ctx context.Context, logID string) error {
	var n uint64
	err := c.queryRow(ctx, "SELECT count() FROM system.processes WHERE startsWith(query_id, "+quoteText(logID+":")+
		") AND position(query_id, "+quoteText(shipper.HealMark)+") > 0", &n)
	switch {
	case err != nil:
		if c, _ := classify(err); c == needsOperator {
			return nil // who may not look does without: the rows merge away
		}
		return err
	case n > 0:
		return errors.New(c.addr + ": still works on an insert of an earlier audit")
	}
	return nil
}

// elsewhere is what of the missing no other address has either: a replica may
// lag, and without replication rows are where they were sent.
func (q *question) elsewhere(ctx context.Context, bucket span, missing []shipper.Range) ([]shipper.Range, error) {
	for _, addr := range q.prover.opts.Addrs {
		if addr == q.prover.server.addr || len(missing) == 0 {
			continue
		}
		err := func() error {
			srv, err := q.prover.reach(ctx, addr)
			if err != nil {
				return err
			}
			defer srv.close()
			there, err := srv.present(ctx, bucket, "")
			missing = there.lacks(missing)
			return err
		}()
		if err != nil {
			return nil, fmt.Errorf("rows are missing at %s, and %w", q.prover.server.addr, err)
		}
	}
	return missing, nil
}

// buckets cuts a span where counts does.
func (s span) buckets() []span {
	var out []span
	for _, r := range s.seqs {
		for r.First <= r.Last {
			part := shipper.Range{First: r.First, Last: min(r.Last, (r.First/bucketSeqs+1)*bucketSeqs-1)}
			if n := len(out); n > 0 && out[n-1].number() == part.First/bucketSeqs {
				out[n-1].seqs = append(out[n-1].seqs, part)
			} else {
				out = append(out, span{logID: s.logID, from: s.from, until: s.until, seqs: []shipper.Range{part}})
			}
			r.First = part.Last + 1
		}
	}
	return out
}

// number is that of a bucket.
func (s span) number() uint64 { return s.seqs[0].First / bucketSeqs }

// size is how many seqs the span has.
func (s span) size() (n uint64) {
	for _, r := range s.seqs {
		n += r.Len()
	}
	return n
}

// counted is how many rows, and how many different seqs, a bucket has.
type counted struct{ rows, seqs uint64 }

// counts counts a span by buckets.
func (c *server) counts(ctx context.Context, s span) (map[uint64]counted, error) {
	query := "SELECT count(), groupArray(bucket), groupArray(n), groupArray(u) FROM" +
		" (SELECT toUInt64(intDiv(assumeNotNull(seq), " + number(bucketSeqs) + ")) AS bucket, count() AS n, toUInt64(uniqExact(seq)) AS u FROM " +
		c.table.name + s.where() + " GROUP BY bucket)"
	var n uint64
	var buckets, rows, seqs []uint64
	if err := c.queryRow(ctx, query, &n, &buckets, &rows, &seqs); err != nil {
		return nil, err
	}
	if uint64(len(buckets)) != n || len(rows) != len(buckets) || len(seqs) != len(buckets) {
		return nil, errors.New(c.addr + ": read: the answer is not whole")
	}
	found := make(map[uint64]counted, n)
	for i, bucket := range buckets {
		found[bucket] = counted{rows[i], seqs[i]}
	}
	return found, nil
}

// lacks is what of the ranges is not there.
func (p presence) lacks(wanted []shipper.Range) []shipper.Range {
	var missing []uint64
	for _, r := range wanted {
		for seq := r.First; seq <= r.Last; seq++ {
			if p.counts[seq] == 0 {
				missing = append(missing, seq)
			}
		}
	}
	return ranges(missing)
}

// ranges joins ascending seqs.
func ranges(seqs []uint64) []shipper.Range {
	var out []shipper.Range
	for _, seq := range slices.Compact(seqs) {
		if n := len(out); n > 0 && out[n-1].Last+1 == seq {
			out[n-1].Last = seq
		} else {
			out = append(out, shipper.Range{First: seq, Last: seq})
		}
	}
	return out
}
