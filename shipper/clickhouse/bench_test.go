package clickhouse

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"forebay/shipper"
	"forebay/shipper/shippertest/proxy"
	"forebay/wal"
	"forebay/wal/record"
	"forebay/wal/waltest/benchmark"
)

// typical is the JSON of an event of 500 bytes.
func typical(n int) []byte {
	raw := fmt.Sprintf(`{"eventType":"click","timestamp":"2026-11-23T10:00:00.%03dZ","sessionId":"5c2f%028d","route":"/products/%d?page=%d",`+
		`"target":{"type":"element","id":"buy-%d","selector":"main > div.list > div:nth-child(%d) > button.buy","tagName":"button"},`+
		`"metadata":{"clientX":%d,"clientY":%d,"viewport":{"w":1920,"h":1080},"userAgent":"Mozilla/5.0"},`+
		`"environment":"production","idempotencyKey":"5c2f%028d-%d"}`,
		n%1000, n%5000, n%700, n%9, n%300, n%40, n%1920, n%1080, n%5000, n)
	if pad := 500 - len(raw); pad > 0 {
		raw = strings.Replace(raw, "Mozilla", strings.Repeat("M", pad)+"ozilla"[:6], 1)
	}
	return []byte(raw)
}

// fill appends n typical events in requests of 100.
func fill(tb testing.TB, log *wal.Log, n int) {
	tb.Helper()
	for at := 0; at < n; {
		b := record.Batch{Project: "shop", SDKVersion: "1.0.0", AppID: "web"}
		for ; at < n && len(b.Events) < 100; at++ {
			b.Events = append(b.Events, record.Event{Session: fmt.Sprintf("5c2f%028d", at%5000), Raw: typical(at)})
		}
		if _, err := log.Append(tb.Context(), wal.Entry{Data: record.Append(nil, &b), Events: len(b.Events)}); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkLogToTable ships a log into a table, and beside it inserts the
// same columns in the same batches with nothing but clickhouse-go. It reports
// both rates, and the median of their ratios: both need the same two or more
// processors as the server, so a busy machine sways each.
func BenchmarkLogToTable(b *testing.B) {
	const rows, batch = 1_000_000, 50_000
	for name, start := range map[string]func() (oracle, Options){
		"18.16 native": func() (oracle, Options) { return startOld(b) },
		"current http": func() (oracle, Options) { return startEngine(b) },
	} {
		b.Run(name, func(b *testing.B) {
			server, o := start()
			r := newRig(b)
			r.flush = shipper.Flush{Rows: batch, Bytes: 32 << 20, Age: time.Minute}
			fill(b, r.log, rows)
			if o.CreateTable {
				if _, err := Apply(b.Context(), o); err != nil {
					b.Fatal(err)
				}
			}

			var bare time.Duration
			var use benchmark.Meter
			var ratios []float64
			rounds := max(b.N, 3)
			for range rounds {
				server.MustQuery(b, "TRUNCATE TABLE events")
				r.forget()
				use.Begin(b)
				r.start(o)
				r.shipped()
				mine := use.End(b)
				r.stop()
				wantEach(b, server, "", rows)

				server.MustQuery(b, "TRUNCATE TABLE events")
				r.forget()
				// Half a gigabyte of prepared blocks would let the collector wait until a gigabyte is in use, all of
				// it memory new to the process. So they are here for the bare loop alone, which collects as
				// often as a process without them.
				blocks := prepared(r, rows)
				before := debug.SetGCPercent(20)
				runtime.GC()
				begun := time.Now()
				bareLoop(b, o, blocks)
				theirs := time.Since(begun)
				debug.SetGCPercent(before)
				blocks = nil
				runtime.GC()
				wantEach(b, server, "", rows)
				bare += theirs
				ratios = append(ratios, theirs.Seconds()/mine.Seconds())
			}
			use.Report(b, rows*float64(rounds))
			b.ReportMetric(rows*float64(rounds)/bare.Seconds(), "bare-events/s")
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// prepared is the rig's log as blocks of columns.
func prepared(r *rig, rows uint64) []*block {
	var blocks []*block
	r.run(sinkFunc(func(ctx context.Context, feed *shipper.Feed) error {
		for next := uint64(1); next <= rows; {
			read, err := feed.Next(ctx)
			if err != nil {
				return err
			}
			for _, piece := range split(read) {
				blocks = append(blocks, prepare(piece, "edge-1", nil))
			}
			next = read.Last + 1
			if err := feed.Advance(next); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}))
	r.shipped()
	r.stop()
	return blocks
}

type sinkFunc func(context.Context, *shipper.Feed) error

func (f sinkFunc) Ship(ctx context.Context, feed *shipper.Feed) error { return f(ctx, feed) }

// bareLoop inserts the blocks one after the other.
func bareLoop(tb testing.TB, o Options, blocks []*block) {
	tb.Helper()
	o, err := o.withDefaults()
	if err != nil {
		tb.Fatal(err)
	}
	protocol := driver.Native
	if o.Protocol == HTTP {
		protocol = driver.HTTP
	}
	conn, err := driver.Open(&driver.Options{
		Addr: o.Addrs, Protocol: protocol, Compression: &driver.Compression{Method: driver.CompressionLZ4},
		Settings: driver.Settings{"insert_deduplicate": 1},
	})
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	srv := &server{conn: conn, timeout: time.Minute}
	if srv.table, err = srv.inspect(tb.Context(), o.Database, o.Table); err != nil {
		tb.Fatal(err)
	}
	for _, b := range blocks {
		batch, err := conn.PrepareBatch(tb.Context(), "INSERT INTO events ("+strings.Join(srv.table.filled(), ", ")+")")
		if err != nil {
			tb.Fatal(err)
		}
		at, all, scratch := 0, b.all(), []string{}
		for _, c := range fields {
			if f, has := srv.table.columns[c.name]; has {
				if err := batch.Column(at).Append(b.values(c, f, all, &scratch)); err != nil {
					tb.Fatal(err)
				}
				at++
			}
		}
		if err := batch.Send(); err != nil {
			tb.Fatal(err)
		}
	}
}

// TestMemoryOfRowsInFlight stops a catching up in the middle, when one batch
// is on its way and the next is prepared, and measures both.
func TestMemoryOfRowsInFlight(t *testing.T) {
	const batch, most = 4000, 1500
	eachEngine(t, func(t *testing.T, o Options, server oracle, _ string) {
		p := proxy.Start(t, o.Addrs[0])
		o.Addrs = []string{p.Addr()}
		r := newRig(t)
		r.flush = shipper.Flush{Rows: batch, Bytes: 32 << 20, Age: time.Minute}
		fill(t, r.log, 6*batch)
		before := heap()
		r.start(o)
		eventually(t, func() bool { return r.cursor.Next() > 3*batch }, func() string { return "not shipped" })
		sent := p.Sent()
		eventually(t, func() bool { return p.Sent() > sent+100_000 }, func() string { return "nothing sent" })
		p.Pause()
		perRow, same := uint64(0), 0
		eventually(t, func() bool { // until the next is prepared
			now := (heap() - before) / (2 * batch)
			if same++; now != perRow {
				perRow, same = now, 0
			}
			return same == 4
		}, func() string { return "the memory in use does not settle" })
		p.Resume()
		t.Logf("%d bytes a row", perRow)
		if perRow > most || perRow < 400 {
			t.Errorf("%d bytes of memory for each row in flight, want at most %d", perRow, most)
		}
		r.shipped()
		wantEach(t, server, "", 6*batch)
	})
}

// heap is how much memory is reachable, by the last collection.
func heap() uint64 {
	runtime.GC()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return live[0].Value.Uint64()
}

// BenchmarkReplyToRow is how long a lone event takes from its durable append
// until a query finds its row, with a short age of flushing.
func BenchmarkReplyToRow(b *testing.B) {
	for _, age := range []time.Duration{time.Second, 100 * time.Millisecond} {
		b.Run(age.String(), func(b *testing.B) {
			server, o := startOld(b)
			r := newRig(b)
			r.flush = shipper.Flush{Rows: 50_000, Bytes: 32 << 20, Age: age}
			r.append(1)
			r.start(o)
			r.shipped()
			longest := time.Duration(0)
			b.ResetTimer()
			for range b.N {
				begun := time.Now()
				r.append(1)
				want := fmt.Sprint(r.log.DurableSeq())
				eventually(b, func() bool { return server.MustQuery(b, "SELECT max(seq) FROM events") == want }, func() string { return "no row" })
				longest = max(longest, time.Since(begun))
			}
			b.ReportMetric(float64(longest.Milliseconds()), "longest-ms")
		})
	}
}
