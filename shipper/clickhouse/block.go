package clickhouse

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
	"unsafe"

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
	texts      [len(textFields)]texts

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

// texts is a column of texts, one after the other: without a pointer for each,
// which the garbage collector would have to follow.
type texts struct {
	joined []byte
	ends   []uint32 // where each text ends in joined
}

func (t *texts) add(s string) {
	t.joined = append(t.joined, s...)
	t.ends = append(t.ends, uint32(len(t.joined)))
}

// pick returns the texts of the rows in into, which it overwrites.
func (t *texts) pick(rows []int, into []string) []string {
	into, joined := into[:0], unsafe.String(unsafe.SliceData(t.joined), len(t.joined))
	for _, row := range rows {
		begin := uint32(0)
		if row > 0 {
			begin = t.ends[row-1]
		}
		into = append(into, joined[begin:t.ends[row]])
	}
	return into
}

// at is the text of a row, in the block's own memory.
func (t *texts) at(row int) []byte {
	begin := uint32(0)
	if row > 0 {
		begin = t.ends[row-1]
	}
	return t.joined[begin:t.ends[row]]
}

// textFields are the columns of block.texts, which is every text column that
// differs between the rows of a block.
var textFields = [...]string{
	"project_id", "session_id", "event_type", "route", "target_type", "target_id", "target_selector", "target_tag",
	"metadata", "environment", "idempotency_key", "sdk_version", "app_id", "extra",
}

// textsOf is where a row has them: the columns take them from there, without a copy of the whole.
func textsOf(r *columns.Row) [len(textFields)]*string {
	return [...]*string{
		&r.ProjectID, &r.SessionID, &r.EventType, &r.Route, &r.TargetType, &r.TargetID, &r.TargetSelector, &r.TargetTag,
		&r.Metadata, &r.Environment, &r.IdempotencyKey, &r.SDKVersion, &r.AppID, &r.Extra,
	}
}

// maxBlockBytes bounds the raw events of one block, whatever the flush limits.
const maxBlockBytes = 1 << 30

// split cuts a batch where the log or the day changes, and at maxBlockBytes. The
// pieces cover its range without holes; a piece without events covers lost seqs alone.
func split(batch *shipper.Batch) []shipper.Batch {
	var pieces []shipper.Batch
	piece := shipper.Batch{First: batch.First, Last: batch.Last}
	from := 0
	for i, e := range batch.Events {
		if i > from {
			before := batch.Events[i-1]
			if e.LogID != before.LogID || day(e) != day(before) || piece.Bytes+int64(len(e.Raw)) > maxBlockBytes {
				piece.Last, piece.Events = e.Seq-1, batch.Events[from:i]
				pieces = append(pieces, piece)
				piece, from = shipper.Batch{First: e.Seq, Last: batch.Last}, i
			}
		}
		piece.Bytes += int64(len(e.Raw))
	}
	piece.Events = batch.Events[from:]
	return append(pieces, piece)
}

func day(e shipper.Event) int64 { return e.ReceivedAt.Unix() / int64((24 * time.Hour).Seconds()) }

// sampleRows is how many events are looked at for the sizes of a first block.
const sampleRows = 256

// prepare turns a piece into columns, and empties it on the way: the block
// shares no memory with the log. Like is a block of about the same kind of events, or nil: its sizes
// save growing.
func prepare(piece shipper.Batch, nodeID string, like *block) *block {
	n := len(piece.Events)
	if like == nil && n > 2*sampleRows {
		like = prepare(shipper.Batch{Events: slices.Clone(piece.Events[:sampleRows])}, nodeID, nil)
	}
	b := &block{
		first: piece.First, last: piece.Last, nodeID: nodeID,
		seqs: make([]uint64, 0, n), received: make([]int64, 0, n), timestamps: make([]int64, 0, n),
	}
	for i := range b.texts {
		b.texts[i].ends = make([]uint32, 0, n)
		if like != nil && like.rows() > 0 {
			each := float64(len(like.texts[i].joined)) / float64(like.rows())
			b.texts[i].joined = make([]byte, 0, int(1.02*each*float64(n)))
		}
	}
	if n > 0 {
		b.logID = piece.Events[0].LogID.String()
	}
	var sum checksum
	var decoder columns.Decoder
	var row columns.Row
	rowTexts := textsOf(&row)
	for at := range piece.Events {
		e := piece.Events[at]
		piece.Events[at] = shipper.Event{} // so that the log's blocks can go one by one
		sum.add(&e)
		if err := decoder.View(&row, &e, nodeID); err != nil {
			b.unreadable = append(b.unreadable, shipper.NewDeadLetter(e, err.Error(), 0))
			continue
		}
		b.seqs = append(b.seqs, e.Seq)
		b.received = append(b.received, row.ReceivedAt.UnixMilli())
		b.timestamps = append(b.timestamps, row.Timestamp.UnixMilli())
		for i, s := range &rowTexts { // add copies them out of the event
			b.texts[i].add(*s)
		}
	}
	b.crc = sum.finish()
	return b
}

// checksum goes over events with all that their rows are made of.
type checksum struct {
	sum     uint32
	pending []byte // what it has not gone over yet
}

// checksumBytes is about how much it goes over at once: the processor then
// takes three stretches side by side, which it does not in a single event.
const checksumBytes = 16 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (c *checksum) add(e *shipper.Event) {
	p := binary.BigEndian.AppendUint64(c.pending, e.Seq)
	p = binary.BigEndian.AppendUint64(p, uint64(e.ReceivedAt.UnixMilli()))
	for _, s := range [...]*string{&e.Project, &e.Session, &e.SDKVersion, &e.AppID} {
		p = binary.AppendUvarint(p, uint64(len(*s)))
		p = append(p, *s...)
	}
	p = binary.AppendUvarint(p, uint64(len(e.Raw)))
	if len(e.Raw) >= checksumBytes { // large enough by itself
		c.pending = p
		c.sum = crc32.Update(c.finish(), castagnoli, e.Raw)
		return
	}
	c.pending = append(p, e.Raw...)
	if len(c.pending) >= checksumBytes {
		c.finish()
	}
}

// finish is the checksum of all that was added.
func (c *checksum) finish() uint32 {
	c.sum = crc32.Update(c.sum, castagnoli, c.pending)
	c.pending = c.pending[:0]
	return c.sum
}

// values are those of the column for the rows selected, in the form that
// clickhouse-go takes for the type found in the table. Texts are put into
// scratch, where the next call overwrites them.
func (b *block) values(c column, f found, rows []int, scratch *[]string) any {
	switch c.name {
	case "seq":
		return f.ordinals(pick(b.seqs, rows))
	case "received_at":
		return f.times(pick(b.received, rows))
	case "timestamp":
		return f.times(pick(b.timestamps, rows))
	case "node_id":
		return repeat(b.nodeID, len(rows), scratch)
	case "log_id":
		return repeat(b.logID, len(rows), scratch)
	}
	for i, name := range textFields {
		if name == c.name {
			*scratch = b.texts[i].pick(rows, *scratch)
			return *scratch
		}
	}
	return nil // not reached: a test goes through all fields
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

func repeat(s string, n int, into *[]string) []string {
	*into = (*into)[:0]
	for range n {
		*into = append(*into, s)
	}
	return *into
}
