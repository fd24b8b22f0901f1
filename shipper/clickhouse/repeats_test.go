package clickhouse

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"forebay/shipper"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/shippertest/proxy"
)

// blank empties a column of all rows that are there, as a bad migration does.
func blank(t testing.TB, server oracle) {
	t.Helper()
	server.MustQuery(t, "ALTER TABLE events UPDATE app_id = '' WHERE 1")
	eventually(t, func() bool {
		return server.MustQuery(t, "SELECT count() FROM system.mutations WHERE is_done = 0") == "0"
	}, func() string { return "the update does not end" })
}

// wantFilled checks that each event is there, with its value in the column that
// was blanked, once all is merged.
func wantFilled(t testing.TB, server oracle, last uint64) {
	t.Helper()
	got := server.MustQuery(t, "SELECT count(), uniqExact(seq), countIf(app_id = 'web') FROM events FINAL")
	if want := fmt.Sprintf("%d\t%d\t%d", last, last, last); got != want {
		t.Errorf("rows, distinct, filled: %q, want %q", got, want)
	}
}

func (r *rig) rewind(to uint64) {
	r.tb.Helper()
	if _, err := r.cursor.Rewind(r.tb.Context(), shipper.Command{By: "ann"}, to); err != nil {
		r.tb.Fatal(err)
	}
}

// TestRewindIsDeliveredThroughARefusal rewinds to fill a column anew while the
// user may not write, and gives the rights back.
func TestRewindIsDeliveredThroughARefusal(t *testing.T) {
	t.Run("18.16 native", func(t *testing.T) {
		server, o := startOld(t)
		o.Username, o.PasswordFile = clickhousetest.PasswordUser, filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(o.PasswordFile, []byte(clickhousetest.Password), 0o600); err != nil {
			t.Fatal(err)
		}
		users := filepath.Join(server.Dir(), "users.xml")
		mayWrite, err := os.ReadFile(users)
		if err != nil {
			t.Fatal(err)
		}
		profile := func(text string) {
			if err := os.WriteFile(users, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			server.MustQuery(t, "SYSTEM RELOAD CONFIG")
		}
		r := newRig(t)
		r.flush.Rows = 100
		r.append(350)
		r.start(o)
		r.shipped()
		blank(t, server)
		own := strings.Index(string(mayWrite), "<"+clickhousetest.PasswordUser+">")
		profile(string(mayWrite[:own]) + strings.Replace(string(mayWrite[own:]), "<profile>default<", "<profile>readonly<", 1))
		r.rewind(1)
		if got := r.paused(); !strings.Contains(got, "READONLY") {
			t.Errorf("paused because %q", got)
		}
		profile(string(mayWrite))
		r.shipped()
		wantFilled(t, server, 350)
	})
	t.Run("current http", func(t *testing.T) {
		engine, o := startEngine(t)
		l := startLiar(t, o.Addrs[0])
		o.Addrs = []string{l.addr}
		r := newRig(t)
		r.flush.Rows = 100
		r.append(350)
		r.start(o)
		r.shipped()
		blank(t, engine)
		l.tell(1, inserts, false, func(w http.ResponseWriter, _ *recording) {
			w.Header().Set("X-ClickHouse-Exception-Code", "164")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "Code: 164. DB::Exception: reader: Cannot execute query in readonly mode. (READONLY)")
		})
		r.rewind(1)
		r.shipped()
		if l.lies() != 1 {
			t.Error("nothing was refused")
		}
		wantFilled(t, engine, 350)
		wantEach(t, engine, "FINAL", 350)
	})
}

// TestRewindTerminatesWithoutAcknowledgements: where a proxy takes away every
// header of ClickHouse, what a rewind brings is proven by there being more rows
// than before.
func TestRewindTerminatesWithoutAcknowledgements(t *testing.T) {
	engine, o := startEngine(t)
	l := startLiar(t, o.Addrs[0])
	o.Addrs = []string{l.addr}
	r := newRig(t)
	r.flush.Rows = 100
	r.append(350)
	r.start(o)
	r.shipped()
	engine.MustQuery(t, "SYSTEM STOP MERGES events")
	l.tell(1000, inserts, true, lies["no header of ClickHouse"])
	r.rewind(1)
	r.append(50)
	r.shipped()
	if n := l.lies(); n > 20 {
		t.Errorf("%d inserts for four plans", n)
	}
	engine.MustQuery(t, "SYSTEM START MERGES events")
	wantEach(t, engine, "FINAL", 400)
}

// trouble is what stands between a node and its server.
type trouble struct {
	t      testing.TB
	server oracle
	r      *rig
	o      Options
	p      *proxy.Proxy
	l      *liar // nil over the native protocol
}

// upset has one of the next inserts come to no clean answer.
func (x trouble) upset(rt *rapid.T) {
	switch kind := rapid.SampledFrom([]string{"cut", "cut the answer", "lie", "lie, stored", "die"}).Draw(rt, "unclean"); {
	case kind == "cut":
		x.p.CutAfterSent(rapid.Int64Range(1, 5000).Draw(rt, "bytes"))
	case kind == "die":
		before := x.r.sink.Stats().Inserts
		eventually(x.t, func() bool {
			return x.r.sink.Stats().Inserts > before || x.r.cursor.Next() > x.r.log.DurableSeq()
		}, func() string { return "nothing is inserted" })
		x.r.die()
		x.r.start(x.o)
	case kind == "cut the answer" || x.l == nil:
		x.p.CutAfterReceived(rapid.Int64Range(1, 800).Draw(rt, "bytes"))
	default:
		x.l.tell(1, inserts, kind == "lie, stored", lies["HTML"])
	}
}

// TestRewindsThroughTrouble blanks a column, rewinds to somewhere, and makes
// answers unclean, at random: whatever was rewound over has its value again.
func TestRewindsThroughTrouble(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, _ string) {
		x := trouble{t: t, server: server}
		if o.Protocol == HTTP {
			x.l = startLiar(t, o.Addrs[0])
			o.Addrs = []string{x.l.addr}
		}
		x.p = proxy.Start(t, o.Addrs[0])
		o.Addrs = []string{x.p.Addr()}
		x.o = o
		x.r = newRig(t)
		r := x.r
		r.flush = shipper.Flush{Rows: 20, Bytes: 1 << 20}
		r.append(50)
		r.start(o)
		r.shipped()
		rounds := 0
		rapid.Check(t, func(rt *rapid.T) {
			if rounds++; rounds > int(steps(12)) {
				return
			}
			blank(t, server)
			r.append(rapid.IntRange(0, 30).Draw(rt, "more"))
			r.shipped()
			to := rapid.Uint64Range(1, r.cursor.Next()-1).Draw(rt, "to")
			r.rewind(to)
			for range rapid.IntRange(1, 3).Draw(rt, "troubles") {
				x.upset(rt)
			}
			if rapid.Bool().Draw(rt, "again") {
				if next := r.cursor.Next(); next > to+1 {
					_, _ = r.cursor.Rewind(t.Context(), shipper.Command{By: "ann"}, to) // it may stand there already
				}
			}
			r.shipped()
			last := r.log.DurableSeq()
			got := server.MustQuery(t, fmt.Sprintf("SELECT count(), countIf(seq >= %d AND app_id != 'web') FROM events FINAL", to))
			if want := fmt.Sprintf("%d\t0", last); got != want {
				rt.Fatalf("rewound to %d: rows, and those not filled: %s, want %s", to, strings.ReplaceAll(got, "\t", " "), want)
			}
		})
	})
}
