package clickhouse

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/columns"
	"forebay/wal"
)

// stream is a piece of so many events of about 385 bytes, as one SDK sends them: the same members in the
// same order, with other ids, places and times.
func stream(n int) shipper.Batch {
	random := rand.New(rand.NewPCG(1, 2))
	uuid := func() string {
		return fmt.Sprintf("%08x-0000-4000-8000-%012x", random.Uint32(), random.Uint64()&(1<<48-1))
	}
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	piece := shipper.Batch{First: 1, Last: uint64(n)}
	for i := range n {
		at = at.Add(time.Duration(random.IntN(8)) * time.Millisecond)
		session := uuid()
		raw := fmt.Appendf(nil, `{"eventType":"click","timestamp":"%s","sessionId":"%s","route":"/products/shoes",`+
			`"target":{"type":"element","id":"buy-now","selector":"#main > div.card","tagName":"button"},`+
			`"metadata":{"clientX":512,"clientY":%d,"text":"Add"},"environment":"production","idempotencyKey":"%s"}`,
			at.Format("2006-01-02T15:04:05.000Z"), session, random.IntN(1000), uuid())
		piece.Events = append(piece.Events, shipper.Event{
			Seq: uint64(i + 1), LogID: wal.ID{0xab}, ReceivedAt: at.Truncate(time.Millisecond),
			Project: "shop", SDKVersion: "1.4.2", AppID: "shop", Session: session, Raw: raw,
		})
		piece.Bytes += int64(len(raw))
	}
	return piece
}

// TestPrepareIsEachEventAlone compares the columns of a block with the rows of its events, and its
// checksum with that of all their bytes in one piece.
func TestPrepareIsEachEventAlone(t *testing.T) {
	piece := stream(3 * sampleRows)
	for i, raw := range map[int]string{
		7:   `{"timestamp":"2026-11-23T10:00:00Z"}`,
		8:   `{"timestamp":"2026-11-23T10:00:00.5+01:00","rou\u0074e":"/\u00e9","target":{"id":1},"x":[1]}`,
		300: `{"eventType":"click"}`,
		301: `{"timestamp":"2026-11-23T10:00:00Z","route":"` + strings.Repeat("long", 3*checksumBytes) + `"}`,
	} {
		piece.Events[i].Raw = []byte(raw)
	}
	events := slices.Clone(piece.Events)
	b := prepare(piece, "edge-1", nil)

	var whole []byte
	row := 0
	for _, e := range events {
		whole = binary.BigEndian.AppendUint64(whole, e.Seq)
		whole = binary.BigEndian.AppendUint64(whole, uint64(e.ReceivedAt.UnixMilli()))
		for _, s := range []string{e.Project, e.Session, e.SDKVersion, e.AppID, string(e.Raw)} {
			whole = append(binary.AppendUvarint(whole, uint64(len(s))), s...)
		}
		want, err := columns.Decode(e, "edge-1")
		if err != nil {
			if len(b.unreadable) != 1 || b.unreadable[0].Seq != e.Seq || b.unreadable[0].Reason != err.Error() {
				t.Errorf("unreadable: %+v, want seq %d alone: %v", b.unreadable, e.Seq, err)
			}
			continue
		}
		if b.seqs[row] != e.Seq || b.received[row] != want.ReceivedAt.UnixMilli() || b.timestamps[row] != want.Timestamp.UnixMilli() {
			t.Errorf("row %d: seq %d, received %d, at %d, want %+v", row, b.seqs[row], b.received[row], b.timestamps[row], want)
		}
		for i, text := range textsOf(&want) {
			if got := b.texts[i].pick([]int{row}, nil)[0]; got != *text {
				t.Errorf("seq %d: %s is %q, want %q", e.Seq, textFields[i], got, *text)
			}
		}
		row++
	}
	if b.rows() != row {
		t.Errorf("%d rows, want %d", b.rows(), row)
	}
	if want := crc32.Checksum(whole, crc32.MakeTable(crc32.Castagnoli)); b.crc != want {
		t.Errorf("checksum %08x, want %08x", b.crc, want)
	}
	for i, e := range piece.Events {
		if e.Raw != nil {
			t.Fatalf("event %d was not given up", i)
		}
	}
}

func BenchmarkPrepare(b *testing.B) {
	const events = 5000
	all := stream(events)
	piece := all
	piece.Events = slices.Clone(all.Events)
	like := prepare(piece, "edge-1", nil)
	b.ReportAllocs()
	for b.Loop() {
		copy(piece.Events, all.Events) // prepare empties them
		if blk := prepare(piece, "edge-1", like); blk.rows() != events {
			b.Fatalf("%d rows", blk.rows())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
}
