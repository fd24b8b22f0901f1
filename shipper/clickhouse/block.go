package clickhouse

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"forebay/shipper"
	"forebay/shipper/columns"
)

// block is what one insert carries: events of one log and one day, as
// columns. Its range may hold seqs without a row: lost ones, and those of
// unreadable events.
type block struct {
	first, last uint64
	logID       string
	nodeID      string
	crc         uint32 // of the events, as long as they are the same

	seqs       []uint64
	received   []int64 // milliseconds
	timestamps []int64 // milliseconds
	texts      [][]string

	unreadable []shipper.DeadLetter // events that have no columns
}

func (b *block) rows() int { return len(b.seqs) }

// token names the content of the plan: the same only for the same rows of the
// same delivery.
func (b *block) token(cursor string, epoch uint64) string {
	return fmt.Sprintf("%s:%s:%d:%d-%d:%08x", b.logID, cursor, epoch, b.first, b.last, b.crc)
}

// all selects every row of the block.
func (b *block) all() []int {
	rows := make([]int, b.rows())
	for i := range rows {
		rows[i] = i
	}
	return rows
}

// textFields are the columns of block.texts, which is every text column that
// differs between the rows of a block.
var textFields = [...]string{
	"project_id", "session_id", "event_type", "route", "target_type", "target_id", "target_selector", "target_tag",
	"metadata", "environment", "idempotency_key", "sdk_version", "app_id", "extra",
}

func textsOf(r *columns.Row) [len(textFields)]string {
	return [...]string{
		r.ProjectID, r.SessionID, r.EventType, r.Route, r.TargetType, r.TargetID, r.TargetSelector, r.TargetTag,
		r.Metadata, r.Environment, r.IdempotencyKey, r.SDKVersion, r.AppID, r.Extra,
	}
}

// split cuts a batch where the log or the day changes. The pieces cover its
// range without holes; a piece without events covers lost seqs alone.
func split(batch *shipper.Batch) []shipper.Batch {
	var pieces []shipper.Batch
	piece := shipper.Batch{First: batch.First, Last: batch.Last}
	for i, e := range batch.Events {
		if i > 0 && (e.LogID != batch.Events[i-1].LogID || day(e) != day(batch.Events[i-1])) {
			piece.Last = e.Seq - 1
			pieces = append(pieces, piece)
			piece = shipper.Batch{First: e.Seq, Last: batch.Last}
		}
		piece.Events = append(piece.Events, e)
	}
	return append(pieces, piece)
}

func day(e shipper.Event) int64 { return e.ReceivedAt.Unix() / int64((24 * time.Hour).Seconds()) }

// prepare turns a piece into columns. The block keeps nothing of the log's
// memory: a row's texts share one copy of its event.
func prepare(piece shipper.Batch, nodeID string) *block {
	n := len(piece.Events)
	b := &block{
		first: piece.First, last: piece.Last, nodeID: nodeID,
		seqs: make([]uint64, 0, n), received: make([]int64, 0, n), timestamps: make([]int64, 0, n),
		texts: make([][]string, len(textFields)),
	}
	for i := range b.texts {
		b.texts[i] = make([]string, 0, n)
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	var frame []byte
	for _, e := range piece.Events {
		b.logID = e.LogID.String()
		frame = binary.BigEndian.AppendUint64(frame[:0], e.Seq)
		frame = binary.BigEndian.AppendUint64(frame, uint64(e.ReceivedAt.UnixMilli()))
		for _, s := range [...]string{e.Project, e.Session, e.SDKVersion, e.AppID} {
			frame = binary.AppendUvarint(frame, uint64(len(s)))
			frame = append(frame, s...)
		}
		frame = binary.AppendUvarint(frame, uint64(len(e.Raw)))
		_, _ = sum.Write(frame)
		_, _ = sum.Write(e.Raw)

		row, err := columns.Decode(e, nodeID)
		if err != nil {
			b.unreadable = append(b.unreadable, shipper.NewDeadLetter(e, err.Error(), 0))
			continue
		}
		b.seqs = append(b.seqs, e.Seq)
		b.received = append(b.received, row.ReceivedAt.UnixMilli())
		b.timestamps = append(b.timestamps, row.Timestamp.UnixMilli())
		for i, s := range textsOf(&row) {
			b.texts[i] = append(b.texts[i], s)
		}
	}
	b.crc = sum.Sum32()
	return b
}

// values are those of the column for the rows selected, in the form that
// clickhouse-go takes for the type found in the table.
func (b *block) values(c column, f found, rows []int) any {
	switch c.name {
	case "seq":
		return f.ordinals(pick(b.seqs, rows))
	case "received_at":
		return f.times(pick(b.received, rows))
	case "timestamp":
		return f.times(pick(b.timestamps, rows))
	case "node_id":
		return repeat(b.nodeID, len(rows))
	case "log_id":
		return repeat(b.logID, len(rows))
	}
	for i, name := range textFields {
		if name == c.name {
			return pick(b.texts[i], rows)
		}
	}
	return nil // not reached: a test compares fields with textFields
}

// pick selects values by ascending index; all of them without a copy.
func pick[T any](values []T, rows []int) []T {
	if len(rows) == len(values) {
		return values
	}
	out := make([]T, len(rows))
	for i, row := range rows {
		out[i] = values[row]
	}
	return out
}

func repeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}
