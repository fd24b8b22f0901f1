package clickhouse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/wal"
	"forebay/wal/record"
)

// larger selects inserts whose body is larger than so many bytes.
func larger(size int) func(*http.Request, []byte) bool {
	return func(r *http.Request, body []byte) bool { return inserts(r, body) && len(body) > size }
}

// exceptionOf answers with an exception as the engine does.
func exceptionOf(code int, text string) func(http.ResponseWriter, *recording) {
	return func(w http.ResponseWriter, _ *recording) {
		w.Header().Set("X-ClickHouse-Exception-Code", fmt.Sprint(code))
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, "Code: %d. DB::Exception: %s", code, text)
	}
}

// tooLargeFor are answers of what takes no more than so much at once.
var tooLargeFor = map[string]func(http.ResponseWriter, *recording){
	"413 of a proxy": func(w http.ResponseWriter, _ *recording) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, "<html>413 Request Entity Too Large</html>")
	},
	"memory":     exceptionOf(241, "Memory limit (for query) exceeded: would use 9.32 GiB (MEMORY_LIMIT_EXCEEDED)"),
	"timeout":    exceptionOf(159, "Timeout exceeded: elapsed 5.1 seconds, maximum: 5 (TIMEOUT_EXCEEDED)"),
	"partitions": exceptionOf(252, "Too many partitions for single INSERT block (more than 100). The limit is controlled by 'max_partitions_per_insert_block' setting. (TOO_MANY_PARTS)"),
	"reset":      func(w http.ResponseWriter, _ *recording) { hijack(w, "") },
	"504":        func(w http.ResponseWriter, _ *recording) { w.WriteHeader(http.StatusGatewayTimeout) },
}

// TestTooLargeIsAnsweredBySmaller ships through what refuses inserts above a
// size, in each of its ways: all goes in smaller inserts, which the status tells
// of, nothing is buried, and no event is there twice.
func TestTooLargeIsAnsweredBySmaller(t *testing.T) {
	engine, o := startEngine(t)
	o.Compression = "none"
	for name, answer := range tooLargeFor {
		t.Run(name, func(t *testing.T) {
			o, l := o, startLiar(t, o.Addrs[0])
			o.Addrs, o.Table = []string{l.addr}, "t_"+strings.ReplaceAll(name, " ", "_")
			r := newRig(t)
			r.append(20)
			r.start(o)
			r.shipped()
			l.tell(-1, larger(20_000), false, answer)
			r.append(600)
			r.shipped()
			got := engine.MustQuery(t, "SELECT count(), uniqExact(seq) FROM "+o.Table)
			if s := r.cursor.Status(); got != "620\t620" || s.Dead != 0 {
				t.Fatalf("rows, distinct: %q, status %+v", got, s)
			}
			s := r.sink.Stats()
			if s.InsertRows == 0 || s.InsertRows > 500 || s.InsertRowsWhy == "" {
				t.Errorf("the status does not tell: %+v", s)
			}
			if name == "partitions" && !strings.Contains(s.InsertRowsWhy, "max_partitions_per_insert_block") {
				t.Errorf("the setting is not named: %s", s.InsertRowsWhy)
			}
			l.tell(0, nil, false, nil)
			r.sink.inserts.at = r.sink.inserts.at.Add(-limitAge) // it was long ago
			for n := 0; r.sink.Stats().InsertRows != 0; n++ {
				if r.append(400); n == 20 {
					t.Fatalf("it does not grow back: %+v", r.sink.Stats())
				}
				r.shipped()
			}
		})
	}
}

// TestManyPartitions fills an operator's table of a partition for each few
// events, with the server's own limit.
func TestManyPartitions(t *testing.T) {
	engine, o := startEngine(t)
	o.CreateTable = false
	engine.MustQuery(t, strings.Replace(ownTable, "PARTITION BY toDate(received_at)", "PARTITION BY intDiv(seq, 3)", 1))
	r := newRig(t)
	r.append(700)
	r.start(o)
	r.shipped()
	wantEach(t, engine, "", 700)
	if s := r.sink.Stats(); s.InsertRows == 0 || !strings.Contains(s.InsertRowsWhy, "max_partitions_per_insert_block") {
		t.Errorf("the status does not tell: %+v", s)
	}
}

// TestOnlyAnEventAloneIsTooLarge has one event that fits nowhere among others.
func TestOnlyAnEventAloneIsTooLarge(t *testing.T) {
	engine, o := startEngine(t)
	o.Compression = "none"
	l := startLiar(t, o.Addrs[0])
	o.Addrs = []string{l.addr}
	r := newRig(t)
	r.append(50)
	r.start(o)
	r.shipped()
	l.tell(-1, larger(20_000), false, tooLargeFor["413 of a proxy"])
	big := record.Batch{Project: "shop", SDKVersion: "1.0.0", AppID: "web", Events: []record.Event{
		{Session: "s1", Raw: []byte(strings.Replace(event(51), `"n":51`, `"n":"`+strings.Repeat("x", 30_000)+`"`, 1))},
	}}
	if _, err := r.log.Append(t.Context(), wal.Entry{Data: record.Append(nil, &big), Events: 1}); err != nil {
		t.Fatal(err)
	}
	r.append(50)
	r.shipped()
	if s := r.cursor.Status(); s.Dead != 1 {
		t.Errorf("%d dead letters, want the large one", s.Dead)
	}
	if got := engine.MustQuery(t, "SELECT count(), uniqExact(seq), countIf(seq = 51) FROM events"); got != "100\t100\t0" {
		t.Errorf("rows, distinct, the large one: %q", got)
	}
	// What is the server's fault buries nothing, however small the insert is.
	l.tell(-1, larger(0), false, tooLargeFor["memory"])
	r.append(10)
	eventually(t, func() bool { return r.sink.Stats().InsertRows == 1 }, func() string { return "it does not come down to a row" })
	l.tell(0, nil, false, nil)
	r.shipped()
	if s := r.cursor.Status(); s.Dead != 1 {
		t.Errorf("%d dead letters after a lack of memory, want 1", s.Dead)
	}
}

// TestReadsByHalves has the server refuse the reconciling read above a size.
func TestReadsByHalves(t *testing.T) {
	engine, o := startEngine(t)
	l := startLiar(t, o.Addrs[0])
	o.Addrs = []string{l.addr}
	r := newRig(t)
	r.append(1000)
	r.start(o)
	r.shipped()
	r.append(1000)
	l.tell(1, inserts, true, lies["HTML"])
	eventually(t, func() bool { return l.lies() == 1 }, func() string { return "no insert" })
	r.shipped()
	r.die()
	wide := func(_ *http.Request, body []byte) bool {
		var first, last int
		at := bytes.Index(body, []byte("(seq >= "))
		if at < 0 {
			return false
		}
		_, err := fmt.Sscanf(string(body[at:]), "(seq >= %d AND seq <= %d)", &first, &last)
		return err == nil && last-first >= 100
	}
	l.tell(1, inserts, true, lies["HTML"])
	r.start(o)
	r.append(1000)
	eventually(t, func() bool { return l.lies() == 1 }, func() string { return "no insert" })
	r.die()
	l.tell(-1, wide, false, exceptionOf(158, "Limit for rows or bytes to read exceeded, max rows: 100 (TOO_MANY_ROWS)"))
	r.start(o)
	r.append(100)
	r.shipped()
	wantEach(t, engine, "", r.log.DurableSeq())
	if s := r.sink.Stats(); s.ReadRows == 0 {
		t.Errorf("nothing was read by halves: %+v", s)
	}
}

// TestSmallerFlushCutsASavedPlan lowers flush.rows while a plan waits, which
// the server answers with what is no refusal for its size.
func TestSmallerFlushCutsASavedPlan(t *testing.T) {
	engine, o := startEngine(t)
	l := startLiar(t, o.Addrs[0])
	o.Addrs = []string{l.addr}
	r := newRig(t)
	r.flush.Age = time.Second
	r.append(10)
	r.start(o)
	r.shipped()
	l.tell(-1, inserts, false, exceptionOf(999, "Odd (KEEPER_EXCEPTION)"))
	r.append(500)
	eventually(t, func() bool { return l.lies() > 0 }, func() string { return "nothing is inserted" })
	before := r.sink.Stats().Inserts
	flush := r.flush
	flush.Rows = 60
	if err := r.cursor.SetFlush(flush); err != nil {
		t.Fatal(err)
	}
	tried := l.lies()
	eventually(t, func() bool { return l.lies() > tried }, func() string { return "it is not tried again" })
	l.tell(0, nil, false, nil)
	r.shipped()
	wantEach(t, engine, "", 510)
	if n := r.sink.Stats().Inserts - before; n < 9 {
		t.Errorf("%d inserts of a plan of 500 rows, at most 60 each", n)
	}
}

// TestNodeDiesBetweenPieces kills the node at every commit and after every
// insert of a plan that goes in pieces.
func TestNodeDiesBetweenPieces(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		r := newRig(t)
		r.append(20)
		r.start(o)
		r.shipped()
		for n := range 14 {
			r.stop()
			r.append(30)
			var commits atomic.Int64
			r.state.BeforeCommit = func([]shipper.Write) error {
				if commits.Add(1) > int64(n%5) {
					return errDead
				}
				return nil
			}
			r.start(o)
			r.sink.inserts.shrink(10, errors.New("so many at once were refused"))
			dead := func() bool { return commits.Load() > int64(n%5) || r.sink.Stats().Inserts >= uint64(1+n/2) }
			eventually(t, func() bool { return dead() || r.cursor.Next() > r.log.DurableSeq() }, func() string { return "neither dead nor done" })
			r.die()
			r.state.BeforeCommit = nil
			r.start(o)
			r.sink.inserts.shrink(14, errors.New("so many at once were refused"))
			r.shipped()
			wantEach(t, server, final, r.log.DurableSeq())
		}
	})
}

func TestSizeLimit(t *testing.T) {
	var l sizeLimit
	why := errors.New("too large")
	want := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	want("without a limit", l.most(5000), 5000)
	want("halved", l.shrink(5000, why), 2500)
	want("again", l.shrink(2500, why), 1250)
	l.passed(1250, 5000)
	want("does not come to what was refused", l.most(5000), 1250)
	want("one row", l.shrink(1, why), 1)
	l.shrink(400, why)
	l.at = time.Now().Add(-limitAge)
	for n, next := range map[int]int{200: 400} {
		l.passed(n, 5000)
		want("grows later", l.most(5000), next)
	}
	if !l.passed(3, 5000) {
		t.Error("a limit that nothing comes near does not end")
	}
}
