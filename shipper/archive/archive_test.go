package archive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"forebay/shipper"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/columns"
	"forebay/shipper/shippertest"
	"forebay/wal"
	"forebay/wal/record"
)

var (
	_ shipper.Sink     = (*Sink)(nil)
	_ shipper.Reporter = (*Sink)(nil)
)

// line is a line of an archive as its reader sees it.
type line struct {
	ProjectID  string `json:"project_id"`
	SessionID  string `json:"session_id"`
	Timestamp  string `json:"timestamp"`
	ReceivedAt string `json:"received_at"`
	Metadata   string `json:"metadata"`
	LogID      string `json:"log_id"`
	NodeID     string `json:"node_id"`
	Seq        uint64 `json:"seq"`
}

// files lists the complete files of dir in the order of their names.
func files(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.ndjson.zst"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// read decompresses a file and decodes its lines.
func readFile(t testing.TB, path string) []line {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	decoder, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	var lines []line
	for scanner := bufio.NewScanner(decoder); ; {
		if !scanner.Scan() {
			if err := scanner.Err(); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			return lines
		}
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			t.Fatalf("%s: %s: %v", path, scanner.Bytes(), err)
		}
		lines = append(lines, l)
	}
}

// wantOnce checks that the files of an epoch hold the seqs first to last, each once, in the order of the names.
func wantOnce(t testing.TB, dir string, epoch, first, last uint64) {
	t.Helper()
	next := first
	for _, path := range files(t, dir) {
		if !strings.Contains(path, fmt.Sprintf("-e%d-", epoch)) {
			continue
		}
		for _, l := range readFile(t, path) {
			if l.Seq != next {
				t.Fatalf("%s: seq %d where %d is due; files are %q", path, l.Seq, next, files(t, dir))
			}
			next++
		}
	}
	if next != last+1 {
		t.Fatalf("the files of epoch %d end at %d, want %d", epoch, next-1, last)
	}
}

// newSink is a sink that completes small files soon.
func newSink(t testing.TB, dir string) *Sink {
	t.Helper()
	s, err := New(Options{Dir: dir, NodeID: "edge-1", Age: 10 * time.Millisecond, Bytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEverythingArrivesOnce(t *testing.T) {
	rig := shippertest.NewRig(t)
	dir := filepath.Join(t.TempDir(), "a", "b")
	sink := newSink(t, dir)
	for i := range 20 {
		rig.Append("shop", fmt.Sprint("s", i%3), 7)
	}
	ship := rig.Start(sink, Flush(), shipper.Options{})
	ship.WaitDone()
	rig.Append("shop", "late", 1) // alone: only age completes its file
	ship.WaitDone()
	ship.Stop()
	wantOnce(t, dir, ship.Status().Epoch, 1, 141)

	stats := sink.Stats()
	names := files(t, dir)
	if stats.Events != 141 || stats.Files != uint64(len(names)) || stats.Files < 5 || stats.Bytes == 0 || stats.Last != filepath.Base(names[len(names)-1]) {
		t.Errorf("stats are %+v with %d files", stats, len(names))
	}
	first := readFile(t, names[0])[0]
	if first.NodeID != "edge-1" || first.LogID != rig.Log.ID().String() || first.SessionID != "s0" || first.Metadata != `{"n":1}` ||
		first.Timestamp != "2026-11-23 10:00:00.001" {
		t.Errorf("the first line is %+v", first)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(names) {
		t.Errorf("%d entries beside %d files: %v", len(entries), len(names), err)
	}
}

func TestRewindMakesFilesOfItsOwn(t *testing.T) {
	rig := shippertest.NewRig(t)
	dir := t.TempDir()
	rig.Append("shop", "s", 50)
	ship := rig.Start(newSink(t, dir), Flush(), shipper.Options{})
	ship.WaitDone()
	before := ship.Status().Epoch
	if _, err := ship.Rewind(context.Background(), shipper.Command{}, 11); err != nil {
		t.Fatal(err)
	}
	ship.WaitDone()
	ship.Stop()
	wantOnce(t, dir, before, 1, 50)
	wantOnce(t, dir, ship.Status().Epoch, 11, 50)
}

func TestStepCompletesItsFile(t *testing.T) {
	rig := shippertest.NewRig(t)
	dir := t.TempDir()
	sink, err := New(Options{Dir: dir, Age: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ship := rig.Start(sink, shipper.Flush{Rows: 10, Bytes: 1 << 20}, shipper.Options{})
	if err := ship.Pause(context.Background(), shipper.Command{}, 0); err != nil {
		t.Fatal(err)
	}
	rig.Append("shop", "s", 25)
	for _, want := range []uint64{11, 21, 26} {
		if _, err := ship.Step(context.Background(), shipper.Command{}); err != nil {
			t.Fatal(err)
		}
		if ship.Next() != want {
			t.Errorf("after a step the cursor is at %d, want %d", ship.Next(), want)
		}
	}
	wantOnce(t, dir, ship.Status().Epoch, 1, 25)
}

// appendRaw stores events as they are.
func appendRaw(t testing.TB, log *wal.Log, raws ...string) {
	t.Helper()
	b := record.Batch{Project: "shop"}
	for _, raw := range raws {
		b.Events = append(b.Events, record.Event{Session: "s", Raw: []byte(raw)})
	}
	if _, err := log.Append(context.Background(), wal.Entry{Data: record.Append(nil, &b), Events: len(raws)}); err != nil {
		t.Fatal(err)
	}
}

const plainEvent = `{"eventType":"click","timestamp":"2026-11-23T10:00:00Z","sessionId":"s","route":"/"}`

func TestDamagedEventBecomesADeadLetter(t *testing.T) {
	rig := shippertest.NewRig(t)
	dir := t.TempDir()
	appendRaw(t, rig.Log, `{"no":"timestamp"}`, plainEvent, `{"no":"timestamp"}`, plainEvent, `nonsense`)
	ship := rig.Start(newSink(t, dir), Flush(), shipper.Options{})
	ship.WaitDone()
	if got := ship.Status(); got.Dead != 3 {
		t.Errorf("%d dead letters, want 3: %+v", got.Dead, got)
	}
	var seqs []uint64
	for _, path := range files(t, dir) {
		for _, l := range readFile(t, path) {
			seqs = append(seqs, l.Seq)
		}
	}
	if !slices.Equal(seqs, []uint64{2, 4}) {
		t.Errorf("archived are %v, want 2 and 4", seqs)
	}
}

func TestRequeuedLettersComeInFilesOfTheirOwn(t *testing.T) {
	rig := shippertest.NewRig(t)
	dir := t.TempDir()
	rig.Append("shop", "s", 5)
	ship := rig.Start(newSink(t, dir), Flush(), shipper.Options{})
	ship.WaitDone()
	var letters []shipper.DeadLetter
	for seq := uint64(2); seq <= 4; seq += 2 {
		e := shipper.Event{Seq: seq, LogID: wal.ID{9}, ReceivedAt: time.Unix(1_700_000_000, 0), Project: "shop", Session: "s", Raw: []byte(plainEvent)}
		letters = append(letters, shipper.NewDeadLetter(e, "from another node", 1))
	}
	if n, err := ship.Import(shipper.Command{}, letters); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := ship.Requeue(shipper.Command{}, shipper.DeadFilter{}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	ship.WaitFor("the letters are delivered", func() bool { return ship.Status().Dead == 0 })
	fills, err := filepath.Glob(filepath.Join(dir, "20231114T22-*2-*4-*-090000000000-fill.ndjson.zst"))
	if err != nil || len(fills) != 1 {
		t.Fatalf("%q, %v, all are %q", fills, err, files(t, dir))
	}
	if lines := readFile(t, fills[0]); len(lines) != 2 || lines[0].Seq != 2 || lines[1].Seq != 4 {
		t.Errorf("requeued are %+v", lines)
	}
}

func TestFilesEndWithTheHour(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 58, 0, 0, time.UTC)
	log, err := wal.Open(wal.Options{Dir: t.TempDir(), ReserveBytes: -1, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	rig := &shippertest.Rig{TB: t, Log: log, State: shippertest.NewState()}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	for range 8 {
		rig.Append("shop", "s", 3)
		now = now.Add(30 * time.Second)
	}
	dir := t.TempDir()
	sink, err := New(Options{Dir: dir, Age: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ship := rig.Start(sink, Flush(), shipper.Options{})
	ship.WaitDone()
	ship.Stop()
	wantOnce(t, dir, ship.Status().Epoch, 1, 24)
	hours := map[string]bool{}
	for _, path := range files(t, dir) {
		hour := filepath.Base(path)[:11]
		hours[hour] = true
		for _, l := range readFile(t, path) {
			at, err := time.Parse(timeLayout, l.ReceivedAt)
			if err != nil || at.Format(hourLayout) != hour {
				t.Errorf("%s holds an event of %s", path, l.ReceivedAt)
			}
		}
	}
	if len(hours) != 2 {
		t.Errorf("hours are %v, want two", hours)
	}
}

func TestNewNamesABadDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/none/here"} {
		if _, err := New(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "shippers.archive.dir") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// TestRowIsWhatColumnsSay: every text survives the line, and the names are those of the table.
func TestRowIsWhatColumnsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := make([]string, 14)
		for i := range texts {
			texts[i] = rapid.String().Draw(t, "text")
		}
		row := columns.Row{ProjectID: texts[0], SessionID: texts[1], EventType: texts[2], Route: texts[3], TargetType: texts[4],
			TargetID: texts[5], TargetSelector: texts[6], TargetTag: texts[7], Metadata: texts[8], Environment: texts[9],
			IdempotencyKey: texts[10], SDKVersion: texts[11], AppID: texts[12], NodeID: texts[13], LogID: wal.ID{0xab},
			Timestamp:  time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "timestamp")),
			ReceivedAt: time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "received")),
			Seq:        rapid.Uint64().Draw(t, "seq"), Extra: rapid.String().Draw(t, "extra")}
		encoded := appendRow(nil, &row)
		if bytes.Count(encoded, []byte("\n")) != 1 || encoded[len(encoded)-1] != '\n' {
			t.Fatalf("not one line: %q", encoded)
		}
		decoder := json.NewDecoder(bytes.NewReader(encoded))
		decoder.UseNumber()
		got := map[string]any{}
		if err := decoder.Decode(&got); err != nil {
			t.Fatalf("%q: %v", encoded, err)
		}
		want := []any{row.ProjectID, row.SessionID, row.EventType, row.Timestamp.UTC().Format(timeLayout), row.ReceivedAt.UTC().Format(timeLayout),
			row.Route, row.TargetType, row.TargetID, row.TargetSelector, row.TargetTag, row.Metadata, row.Environment, row.IdempotencyKey,
			row.SDKVersion, row.AppID, row.NodeID, row.LogID.String(), json.Number(fmt.Sprint(row.Seq))}
		for i, name := range columns.Names() {
			if got[name] != want[i] {
				t.Fatalf("%s is %q, want %q", name, got[name], want[i])
			}
			delete(got, name)
		}
		if extra, has := got[columns.ExtraName]; has != (row.Extra != "") || has && extra != row.Extra || len(got) > 1 {
			t.Fatalf("left over are %v, extra is %q", got, row.Extra)
		}
	})
}

// TestClickHouseReadsTheFiles loads an archive with the current engine, guessing the types and into a table.
func TestClickHouseReadsTheFiles(t *testing.T) {
	engine := clickhousetest.StartEngine(t)
	rig := shippertest.NewRig(t)
	dir := filepath.Join(engine.Dir(), "user_files")
	rig.Append("shop", "s", 100)
	appendRaw(t, rig.Log, `{"timestamp":"2026-11-23T10:00:00.5+01:00","metadata":{"n":"text now"},"unknown":[1],"route":"a\"\u00e9\n"}`)
	ship := rig.Start(newSink(t, dir), Flush(), shipper.Options{})
	ship.WaitDone()
	ship.Stop()
	files := fmt.Sprintf("file('%s/*.ndjson.zst', JSONEachRow)", dir)
	if got := engine.MustQuery(t, "SELECT count(), min(seq), max(seq), uniqExact(log_id), sum(JSONExtractInt(metadata, 'n')) FROM "+files); got != "101\t1\t101\t1\t5050" {
		t.Errorf("clickhouse reads %q", got)
	}
	engine.MustQuery(t, `CREATE TABLE events (project_id String, timestamp DateTime64(3,'UTC'), received_at DateTime64(3,'UTC'), route String,
		metadata String, extra String, log_id String, seq UInt64) ENGINE = MergeTree ORDER BY seq`)
	engine.MustQuery(t, fmt.Sprintf("INSERT INTO events SELECT * FROM file('%s/*.ndjson.zst', JSONEachRow, 'project_id String, timestamp DateTime64(3,''UTC''), "+
		"received_at DateTime64(3,''UTC''), route String, metadata String, extra String, log_id String, seq UInt64')", dir))
	if got := engine.MustQuery(t, "SELECT timestamp, hex(route), metadata, extra FROM events WHERE seq = 101"); got != "2026-11-23 09:00:00.500\t6122C3A90A\t"+`{"n":"text now"}`+"\t"+`{"unknown":[1]}` {
		t.Errorf("the last row is %q", got)
	}
}

func BenchmarkArchive(b *testing.B) {
	rows := make([]columns.Row, 1000)
	for i := range rows {
		row, err := columns.Decode(shipper.Event{Seq: uint64(i), Project: "shop", Session: "s", Raw: []byte(plainEvent)}, "n")
		if err != nil {
			b.Fatal(err)
		}
		rows[i] = row
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		b.Fatal(err)
	}
	f := file{encoder: encoder}
	encoder.Reset(&bytes.Buffer{})
	for i := 0; b.Loop(); i++ {
		if err := f.write(&rows[i%len(rows)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
