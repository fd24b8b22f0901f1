package clickhouse

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// liar is an HTTP proxy before an engine that gives some answers itself.
type liar struct {
	addr string

	mu   sync.Mutex
	left int                                   // answers that it still gives, of requests that match
	what func(*http.Request, []byte) bool      // which requests
	lie  func(http.ResponseWriter, *recording) // instead of the answer
	pass bool                                  // the engine gets the request none the less
	told int
}

// recording is the engine's own answer, nil if it was not asked.
type recording struct {
	header http.Header
	body   []byte
}

func startLiar(t *testing.T, engine string) *liar {
	t.Helper()
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: engine})
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	l := &liar{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		lie, pass := l.next(r, body)
		if lie == nil {
			forward.ServeHTTP(w, r)
			return
		}
		var real *recording
		if pass {
			record := httptest.NewRecorder()
			forward.ServeHTTP(record, r)
			real = &recording{record.Header(), record.Body.Bytes()}
		}
		lie(w, real)
	}))
	t.Cleanup(server.Close)
	l.addr = server.Listener.Addr().String()
	return l
}

func (l *liar) next(r *http.Request, body []byte) (func(http.ResponseWriter, *recording), bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == 0 || !l.what(r, body) {
		return nil, false
	}
	l.left--
	l.told++
	return l.lie, l.pass
}

// tell has the liar answer the next n requests of a kind.
func (l *liar) tell(n int, what func(*http.Request, []byte) bool, pass bool, lie func(http.ResponseWriter, *recording)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left, l.what, l.lie, l.pass, l.told = n, what, lie, pass, 0
}

func (l *liar) lies() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}

func inserts(r *http.Request, _ []byte) bool {
	return strings.HasPrefix(r.URL.Query().Get("query"), "INSERT")
}

func reads(_ *http.Request, body []byte) bool { return bytes.Contains(body, []byte("groupArray(seq)")) }

// ofClickHouse writes the headers that the engine's own answers have.
func ofClickHouse(w http.ResponseWriter) {
	w.Header().Set("X-ClickHouse-Format", "Native")
	w.Header().Set("X-ClickHouse-Query-Id", "q")
}

// lies are answers of status 200 that acknowledge nothing.
var lies = map[string]func(http.ResponseWriter, *recording){
	"exception code": func(w http.ResponseWriter, _ *recording) {
		ofClickHouse(w)
		w.Header().Set("X-ClickHouse-Exception-Code", "209")
	},
	"bare text": func(w http.ResponseWriter, _ *recording) {
		ofClickHouse(w)
		_, _ = io.WriteString(w, "Code: 209. DB::NetException: Timeout exceeded while reading from socket")
	},
	"framed exception": func(w http.ResponseWriter, _ *recording) {
		ofClickHouse(w)
		_, _ = io.WriteString(w, "\r\n__exception__\r\nabcdefghijklmnop\r\nCode: 209. DB::Exception: Timeout\n34 abcdefghijklmnop\r\n__exception__\r\n")
	},
	"HTML": func(w http.ResponseWriter, _ *recording) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<html><body>Back soon</body></html>")
	},
	"HTML with ClickHouse's headers": func(w http.ResponseWriter, _ *recording) {
		ofClickHouse(w)
		w.Header().Set("Content-Type", "text/html")
	},
	"no header of ClickHouse": func(http.ResponseWriter, *recording) {},
	"JSON": func(w http.ResponseWriter, _ *recording) {
		ofClickHouse(w)
		_, _ = io.WriteString(w, `{"ok":true}`)
	},
	"gzip": func(w http.ResponseWriter, _ *recording) {
		ofClickHouse(w)
		w.Header().Set("Content-Encoding", "gzip")
	},
	"cut short": func(w http.ResponseWriter, _ *recording) {
		ofClickHouse(w)
		hijack(w, "HTTP/1.1 200 OK\r\nX-ClickHouse-Format: Native\r\nTransfer-Encoding: chunked\r\n\r\n")
	},
	"cut within its length": func(w http.ResponseWriter, _ *recording) {
		hijack(w, "HTTP/1.1 200 OK\r\nX-ClickHouse-Format: Native\r\nContent-Length: 100\r\n\r\n\x01")
	},
	"without a length": func(w http.ResponseWriter, _ *recording) {
		hijack(w, "HTTP/1.1 200 OK\r\nX-ClickHouse-Format: Native\r\nConnection: close\r\n\r\n")
	},
	"exception in a trailer": func(w http.ResponseWriter, _ *recording) {
		ofClickHouse(w)
		w.Header().Set("Trailer", "X-ClickHouse-Exception-Code")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		w.Header().Set("X-ClickHouse-Exception-Code", "209")
	},
	"redirect": func(w http.ResponseWriter, _ *recording) {
		w.Header().Set("Location", "/login")
		w.WriteHeader(http.StatusFound)
	},
	"accepted, not done": func(w http.ResponseWriter, _ *recording) {
		ofClickHouse(w)
		w.WriteHeader(http.StatusAccepted)
	},
}

func hijack(w http.ResponseWriter, answer string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, answer)
	_ = conn.Close()
}

// TestOnlyClickHouseAcknowledges has inserts answered with 200 by what is not
// ClickHouse's word, stored or not: each event is there once in the end, and a
// read that is answered so is no empty table.
func TestOnlyClickHouseAcknowledges(t *testing.T) {
	engine, o := startEngine(t)
	l := startLiar(t, o.Addrs[0])
	o.Addrs = []string{l.addr}
	r := newRig(t)
	r.append(20)
	r.start(o)
	r.shipped() // tokens are proven, by reading
	for name, lie := range lies {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", stored ", stored), func(t *testing.T) {
				before := r.sink.Stats()
				l.tell(2, inserts, stored, lie)
				r.append(20)
				r.shipped()
				if l.lies() == 0 {
					t.Fatal("the liar was not asked")
				}
				wantEach(t, engine, "", r.log.DurableSeq())
				if after := r.sink.Stats(); after.Settled == before.Settled || after.Failed == before.Failed {
					t.Errorf("taken for an acknowledgement: %+v", after)
				}
			})
		}
		t.Run(name+", to a read", func(t *testing.T) {
			if name == "cut short" || name == "without a length" || name == "exception in a trailer" {
				return // they are empty: not rows
			}
			l.tell(1, inserts, true, lies["HTML"])
			r.append(20)
			r.shipped()
			r.die() // the next run reads first
			l.tell(1, reads, false, lie)
			r.start(o)
			r.append(20)
			r.shipped()
			wantEach(t, engine, "", r.log.DurableSeq())
		})
	}
	if s := r.cursor.Status(); s.Dead != 0 {
		t.Errorf("%d dead letters for what a proxy said", s.Dead)
	}
}

// TestStatementsNeedClickHousesWord answers the handshake, the questions about
// the table, and CREATE with 200.
func TestStatementsNeedClickHousesWord(t *testing.T) {
	engine, o := startEngine(t)
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			o, l := o, startLiar(t, o.Addrs[0])
			o.Addrs, o.Table = []string{l.addr}, "t"+strings.NewReplacer(" ", "_", ",", "_", "'", "_").Replace(name)
			sink, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []string{"SELECT displayName()", "SELECT version()", "FROM system.columns", "CREATE TABLE"} {
				l.tell(1, func(_ *http.Request, body []byte) bool { return bytes.Contains(body, []byte(part)) }, false, lie)
				srv, err := sink.connect(t.Context(), l.addr)
				if err == nil {
					srv.close()
					t.Errorf("%s: connected although it was answered with %s", part, name)
				}
				if l.lies() != 1 {
					t.Errorf("%s: %d lies", part, l.lies())
				}
			}
			if got := engine.MustQuery(t, "EXISTS TABLE "+o.Table); got != "0" {
				t.Errorf("the table exists: %s", got)
			}
			l.tell(1, func(_ *http.Request, body []byte) bool { return bytes.Contains(body, []byte("WHERE 0")) }, false, lie)
			engine.MustQuery(t, "CREATE TABLE "+o.Table+" (n UInt8) ENGINE = Memory")
			if err := sink.probe(t.Context()); err == nil {
				t.Error("the probe calls it well")
			}
		})
	}
}
