package clickhousetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

const createEvents = `CREATE TABLE events (
	project_id LowCardinality(String),
	session_id String,
	received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
	log_id String,
	seq UInt64 CODEC(Delta, ZSTD),
	metadata String CODEC(ZSTD(3))
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(received_at)
ORDER BY (project_id, session_id, received_at, log_id, seq)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1`

func openHTTP(t *testing.T, addr string, compression clickhouse.CompressionMethod) driver.Conn {
	t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr:        []string{addr},
		Protocol:    clickhouse.HTTP,
		Auth:        clickhouse.Auth{Database: "default", Username: "default"},
		Compression: &clickhouse.Compression{Method: compression, Level: 1},
		Settings:    clickhouse.Settings{"async_insert": 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// insert sends rows seq first..last as one block.
func insert(ctx context.Context, conn driver.Conn, first, last uint64, token string) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"insert_deduplication_token": token,
		"insert_deduplicate":         1,
	}))
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO events")
	if err != nil {
		return err
	}
	for seq := first; seq <= last; seq++ {
		received := time.UnixMilli(1_800_000_000_123 + int64(seq)).UTC()
		if err := batch.Append("shop", fmt.Sprint("s", seq%3), received, "log", seq, `{"x":"ünïcode"}`); err != nil {
			return err
		}
	}
	return batch.Send()
}

// TestEngineInsert walks one table through what the product relies on, with each compression of the wire.
func TestEngineInsert(t *testing.T) {
	engine := StartEngine(t)
	for name, method := range map[string]clickhouse.CompressionMethod{
		"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4, "zstd": clickhouse.CompressionZSTD,
	} {
		t.Run(name, func(t *testing.T) {
			conn := openHTTP(t, engine.Addr(), method)
			if err := conn.Exec(t.Context(), "DROP TABLE IF EXISTS events"); err != nil {
				t.Fatal(err)
			}
			if err := conn.Exec(t.Context(), createEvents); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := insert(t.Context(), conn, 1, 5000, "log:1-5000"); err != nil {
					t.Fatal(err)
				}
			}
			if err := insert(t.Context(), conn, 1, 5000, "log:1-5000:again"); err != nil {
				t.Fatal(err)
			}
			var count, distinct uint64
			row := conn.QueryRow(t.Context(), "SELECT count(), uniqExact(seq) FROM events")
			if err := row.Scan(&count, &distinct); err != nil {
				t.Fatal(err)
			}
			if count != 10000 || distinct != 5000 {
				t.Errorf("one token twice and another once gave %d rows of %d seqs, want 10000 of 5000", count, distinct)
			}

			var project, metadata string
			var received time.Time
			row = conn.QueryRow(t.Context(), "SELECT project_id, received_at, metadata FROM events WHERE seq = {seq:UInt64} LIMIT 1",
				clickhouse.Named("seq", "7"))
			if err := row.Scan(&project, &received, &metadata); err != nil {
				t.Fatal(err)
			}
			want := time.UnixMilli(1_800_000_000_130).UTC()
			if project != "shop" || metadata != `{"x":"ünïcode"}` || !received.Equal(want) {
				t.Errorf("row 7 came back as %q %v %q", project, received, metadata)
			}
		})
	}
}

// TestEngineSurvivesKill shows that what was acknowledged, rows and tokens, is there after SIGKILL.
func TestEngineSurvivesKill(t *testing.T) {
	engine := StartEngine(t)
	conn := openHTTP(t, engine.Addr(), clickhouse.CompressionNone)
	if err := conn.Exec(t.Context(), createEvents); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(5) {
		first, last := n*100+1, n*100+100
		token := fmt.Sprintf("log:%d-%d", first, last)
		if err := insert(t.Context(), conn, first, last, token); err != nil {
			t.Fatal(err)
		}
		if err := engine.Kill(); err != nil {
			t.Fatal(err)
		}
		if engine.Running() {
			t.Fatal("the engine runs after Kill")
		}
		if err := conn.Ping(t.Context()); err == nil {
			t.Fatal("a killed engine answered")
		}
		if err := engine.Restart(); err != nil {
			t.Fatal(err)
		}
		if err := insert(t.Context(), conn, first, last, token); err != nil {
			t.Fatal(err)
		}
		if got, want := engine.MustQuery(t, "SELECT count(), max(seq) FROM events"), fmt.Sprintf("%d\t%d", last, last); got != want {
			t.Fatalf("after kill %d the table has %q, want %q", n+1, got, want)
		}
	}
}

// TestEngineErrors shows that exceptions reach the driver typed, and that a request's settings end with it.
func TestEngineErrors(t *testing.T) {
	engine := StartEngine(t)
	conn := openHTTP(t, engine.Addr(), clickhouse.CompressionLZ4)
	for query, code := range map[string]int32{
		"SELECT * FROM absent":          60,
		"SELECT FROM WHERE":             62,
		"INSERT INTO absent VALUES (1)": 60,
	} {
		var exception *clickhouse.Exception
		if err := conn.Exec(t.Context(), query); !errors.As(err, &exception) || exception.Code != code {
			t.Errorf("%s: got %v, want code %d", query, err, code)
		}
	}

	before := engine.MustQuery(t, "SELECT getSetting('max_threads')")
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_threads": 7}))
	var threads uint64
	if err := conn.QueryRow(ctx, "SELECT toUInt64(getSetting('max_threads'))").Scan(&threads); err != nil || threads != 7 {
		t.Errorf("a request's own max_threads is %d (%v), want 7", threads, err)
	}
	for range 20 { // more than there are sessions
		if after := engine.MustQuery(t, "SELECT getSetting('max_threads')"); after != before {
			t.Fatalf("max_threads stayed %s after the request, want %s", after, before)
		}
	}
	ctx = clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"no_such_setting": 7}))
	var exception *clickhouse.Exception
	if err := conn.Exec(ctx, "SELECT 1"); !errors.As(err, &exception) || exception.Code != 115 {
		t.Errorf("an unknown setting gave %v, want code 115", err)
	}
}

// TestServer walks Debian's server through native inserts, a kill, an orderly stop and its users.
func TestServer(t *testing.T) {
	server := StartServer(t)
	open := func(user, password string) driver.Conn {
		conn, err := clickhouse.Open(&clickhouse.Options{
			Addr: []string{server.Addr()}, Auth: clickhouse.Auth{Database: "default", Username: user, Password: password},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	conn := open("default", "")
	if err := conn.Exec(t.Context(), "CREATE TABLE numbers (n UInt64) ENGINE = MergeTree ORDER BY n"); err != nil {
		t.Fatal(err)
	}
	insert := func(n uint64) {
		t.Helper()
		batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO numbers (n)")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(batch.Append(n), batch.Send()); err != nil {
			t.Fatal(err)
		}
	}
	for n, down := range []func() error{server.Kill, server.Stop} {
		insert(uint64(n))
		if err := down(); err != nil {
			t.Fatal(err)
		}
		if err := conn.Ping(t.Context()); err == nil {
			t.Fatal("a server that is down answered")
		}
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	insert(2)
	if got := server.MustQuery(t, "SELECT sum(n), count() FROM numbers"); got != "3\t3" {
		t.Errorf("after a kill and a stop the table has %q, want 3 rows that sum to 3", got)
	}

	if err := open(PasswordUser, Password).Ping(t.Context()); err != nil {
		t.Errorf("the right password: %v", err)
	}
	var exception *clickhouse.Exception
	if err := open(PasswordUser, "wrong").Ping(t.Context()); !errors.As(err, &exception) || exception.Code != 193 {
		t.Errorf("a wrong password gave %v, want code 193", err)
	}
	if err := open(ReadOnlyUser, "").Exec(t.Context(), "CREATE TABLE x (n UInt8) ENGINE = Log"); !errors.As(err, &exception) || exception.Code != 164 {
		t.Errorf("a read-only user's CREATE gave %v, want code 164", err)
	}
}

// TestEngineConcurrentInserts sends every block twice from many clients at once: a token that leaked from one request
// into another would lose rows, one that got lost would double them.
func TestEngineConcurrentInserts(t *testing.T) {
	const clients, blocks, rows = 12, 6, 50
	engine := StartEngine(t)
	engine.MustQuery(t, createEvents)
	var running sync.WaitGroup
	for client := range uint64(clients) {
		conn := openHTTP(t, engine.Addr(), clickhouse.CompressionLZ4)
		running.Go(func() {
			for block := range uint64(blocks) {
				first := (client*blocks+block)*rows + 1
				for range 2 {
					if err := insert(t.Context(), conn, first, first+rows-1, fmt.Sprint("token-", first)); err != nil {
						t.Errorf("client %d, block %d: %v", client, block, err)
						return
					}
				}
			}
		})
	}
	running.Wait()
	want := fmt.Sprintf("%d\t%d", clients*blocks*rows, clients*blocks*rows)
	if got := engine.MustQuery(t, "SELECT count(), uniqExact(seq) FROM events"); got != want {
		t.Errorf("rows and seqs: %q, want %q", got, want)
	}
}
