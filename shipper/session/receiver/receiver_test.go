package receiver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"forebay/shipper/session/header"
	"forebay/shipper/session/receiver"
)

const logID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

// message is a request as a sender would make it.
type message struct {
	session string
	epoch   uint64
	seqs    []uint64
	gaps    header.Ranges
	fill    bool
	change  func(http.Header)
}

// send posts a message and returns the status and the header of the answer.
func send(tb testing.TB, r http.Handler, m message) *httptest.ResponseRecorder {
	tb.Helper()
	events := make([]string, len(m.seqs))
	var fill header.Ranges
	for i, seq := range m.seqs {
		events[i] = fmt.Sprintf(`{ "seq": %d, "text": "<&>" }`, seq)
		if m.fill {
			fill = fill.Add(seq, seq)
		}
	}
	body := fmt.Sprintf(`{"project_id":"shop","session_id":%q,"events":[%s]}`, m.session, strings.Join(events, ","))
	req := httptest.NewRequest(http.MethodPost, "/v1/sessions/events", strings.NewReader(body))
	key := header.Key{
		LogID: logID, Epoch: m.epoch, Session: header.NewSessionID("shop", m.session),
		First: m.seqs[0], Last: m.seqs[len(m.seqs)-1], Fill: m.fill,
	}
	req.Header.Set(header.IdempotencyKey, key.String())
	req.Header.Set(header.Epoch, strconv.FormatUint(m.epoch, 10))
	req.Header.Set(header.Seqs, string(header.AppendSeqs(nil, m.seqs)))
	if len(m.gaps) > 0 {
		req.Header.Set(header.Gaps, m.gaps.String())
	}
	if m.fill {
		req.Header.Set(header.Fill, fill.String())
	}
	if m.change != nil {
		m.change(req.Header)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

func newReceiver(tb testing.TB, o receiver.Options) *receiver.Receiver {
	tb.Helper()
	r, err := receiver.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// TestRepeatsChangeNothing sends a session's events in requests of any cut,
// again and again from any point that is not beyond the mark, as a sender
// with a bad memory would: each event takes effect once, in order.
func TestRepeatsChangeNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var taken []uint64
		r := newReceiver(t, receiver.Options{Taken: func(d receiver.Delivery) { taken = append(taken, d.Seqs...) }})
		var log []uint64
		at := uint64(0)
		for range rapid.IntRange(1, 40).Draw(rt, "events") {
			at += rapid.Uint64Range(1, 5).Draw(rt, "step")
			log = append(log, at)
		}
		dead := map[uint64]bool{}
		for _, seq := range log[:len(log)-1] {
			dead[seq] = rapid.IntRange(0, 5).Draw(rt, "dead") == 0
		}
		var alive []uint64
		for _, seq := range log {
			if !dead[seq] {
				alive = append(alive, seq)
			}
		}
		for known := 0; known < len(alive); {
			from := rapid.IntRange(0, known).Draw(rt, "from")
			to := rapid.IntRange(from+1, len(alive)).Draw(rt, "to")
			for cut := from + 1; cut < to; cut++ { // gaps lie before the first event of a request
				if hole(log, dead, alive[cut-1], alive[cut]) != nil {
					to = cut
				}
			}
			before := uint64(0)
			if from > 0 {
				before = alive[from-1]
			}
			w := send(t, r, message{session: "s", epoch: 1, seqs: alive[from:to], gaps: hole(log, dead, before, alive[from])})
			if w.Code != http.StatusOK {
				rt.Fatalf("%d %s", w.Code, w.Body)
			}
			known = max(known, to)
		}
		if !slices.Equal(taken, alive) {
			rt.Fatalf("took %v of %v", taken, alive)
		}
		for seq := range dead {
			if !dead[seq] {
				continue
			}
			for range 2 {
				if w := send(t, r, message{session: "s", epoch: 1, seqs: []uint64{seq}, fill: true}); w.Code != http.StatusOK {
					rt.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		}
		if slices.Sort(taken); !slices.Equal(taken, log) {
			rt.Fatalf("with fills, took %v of %v", taken, log)
		}
		if report := r.Report(); !report.InOrder() {
			rt.Fatalf("%+v", report)
		}
	})
}

// hole is the dead seqs between two events.
func hole(log []uint64, dead map[uint64]bool, after, before uint64) (rs header.Ranges) {
	for _, seq := range log {
		if seq > after && seq < before && dead[seq] {
			rs = rs.Add(seq, seq)
		}
	}
	return rs
}

// TestSwapIsSeen sends an event after a later one: it is too late for it, and
// the report says so.
func TestSwapIsSeen(t *testing.T) {
	r := newReceiver(t, receiver.Options{})
	send(t, r, message{session: "s", epoch: 1, seqs: []uint64{1, 7}})
	send(t, r, message{session: "s", epoch: 1, seqs: []uint64{5}})
	report := r.Report()
	if report.Late != 1 || report.InOrder() || len(report.Violations) != 1 || report.Events != 2 {
		t.Errorf("%+v", report)
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	good := message{session: "s", epoch: 3, seqs: []uint64{4, 6}}
	set := func(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
	for name, change := range map[string]func(http.Header){
		"no key":             func(h http.Header) { h.Del(header.IdempotencyKey) },
		"no seqs":            func(h http.Header) { h.Del(header.Seqs) },
		"no epoch":           func(h http.Header) { h.Del(header.Epoch) },
		"another epoch":      set(header.Epoch, "4"),
		"fewer seqs":         set(header.Seqs, "4"),
		"other seqs":         set(header.Seqs, "4,3"),
		"more seqs":          set(header.Seqs, "4,1,1"),
		"descending":         set(header.Seqs, "4,-2"),
		"gap behind":         set(header.Gaps, "5"),
		"gaps unreadable":    set(header.Gaps, "3-1"),
		"fill without a key": set(header.Fill, "4,6"),
		"encoding":           set("Content-Encoding", "br"),
		"not gzip":           set("Content-Encoding", "gzip"),
		"another session": set(header.IdempotencyKey,
			header.Key{LogID: logID, Epoch: 3, Session: header.NewSessionID("shop", "x"), First: 4, Last: 6}.String()),
	} {
		r := newReceiver(t, receiver.Options{})
		good.change = change
		if w := send(t, r, good); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if report := r.Report(); report.Malformed != 1 || report.Events != 0 || len(report.Violations) != 1 {
			t.Errorf("%s: %+v", name, report)
		}
	}
	for _, body := range []string{``, `[]`, `{}`, `{"project_id":"p","session_id":"s","events":[]}`, `{"project_id":"p","events":[{}]}`, `{"x`} {
		w := httptest.NewRecorder()
		newReceiver(t, receiver.Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/sessions/events", strings.NewReader(body)))
		if w.Code != http.StatusBadRequest {
			t.Errorf("body %q: %d", body, w.Code)
		}
	}
	r := newReceiver(t, receiver.Options{MaxBodyBytes: 10})
	if w := send(t, r, message{session: "s", epoch: 1, seqs: []uint64{1}}); w.Code != http.StatusBadRequest {
		t.Errorf("a large body: %d", w.Code)
	}
}

// TestStateFile takes events, is opened again, and goes on where it was. What
// stands in the file is what was sent, byte for byte.
func TestStateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	var taken []uint64
	open := func() *receiver.Receiver {
		taken = nil
		return newReceiver(t, receiver.Options{StateFile: path, Taken: func(d receiver.Delivery) { taken = append(taken, d.Seqs...) }})
	}
	first := message{session: "s", epoch: 1, seqs: []uint64{1, 2, 5}}
	second := message{session: "s", epoch: 1, seqs: []uint64{8}, gaps: header.Ranges{{First: 6, Last: 6}}}
	r := open()
	send(t, r, first)
	send(t, r, second)
	send(t, r, message{session: "s", epoch: 1, seqs: []uint64{6}, fill: true})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	// A kill may leave any beginning of the last line behind.
	cut := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for _, end := range []int{cut, cut + 1, len(whole) - 1, len(whole)} {
		if err := os.WriteFile(path, whole[:end], 0o600); err != nil {
			t.Fatal(err)
		}
		r = open()
		want := []uint64{1, 2, 5, 8, 6}
		if end < len(whole) {
			want = want[:4]
		}
		if !slices.Equal(taken, want) {
			t.Errorf("cut at %d: has %v", end, taken)
		}
		send(t, r, first)
		send(t, r, second)
		send(t, r, message{session: "s", epoch: 1, seqs: []uint64{6}, fill: true})
		if !slices.Equal(taken, []uint64{1, 2, 5, 8, 6}) {
			t.Errorf("cut at %d: after repeats has %v", end, taken)
		}
		if report := r.Report(); !report.InOrder() || report.Events != 5 || report.Filled != 1 || report.Gaps != 1 {
			t.Errorf("%+v", report)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}

	var raw []string
	err = receiver.ReadStateFile(path, func(d receiver.Delivery) error {
		for _, e := range d.Events {
			raw = append(raw, string(e))
		}
		return nil
	})
	if err != nil || len(raw) != 5 || raw[0] != `{ "seq": 1, "text": "<&>" }` {
		t.Errorf("%q, %v", raw, err)
	}
	if err := os.WriteFile(path, append([]byte("{damaged\n"), whole...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := receiver.New(receiver.Options{StateFile: path}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged file: %v", err)
	}
}

// TestManyAtOnce has sessions write to one state file at the same time.
func TestManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	r := newReceiver(t, receiver.Options{StateFile: path})
	var senders sync.WaitGroup
	for i := range 16 {
		senders.Go(func() {
			for n := range uint64(20) {
				w := send(t, r, message{session: fmt.Sprint(i), epoch: 1, seqs: []uint64{1 + n*16 + uint64(i)}})
				if w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	senders.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := receiver.ReadStateFile(path, func(receiver.Delivery) error { n++; return nil }); err != nil || n != 320 {
		t.Errorf("%d lines, %v", n, err)
	}
	if w := send(t, r, message{session: "0", epoch: 1, seqs: []uint64{1000}}); w.Code != http.StatusServiceUnavailable {
		t.Errorf("without a file to write to: %d", w.Code)
	}
}

func TestFaults(t *testing.T) {
	r := newReceiver(t, receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		if d.Session == "hooked" {
			return receiver.Fault{Status: 418}
		}
		return receiver.Fault{}
	}})
	put := func(rules string) int {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/faults", strings.NewReader(rules)))
		return w.Code
	}
	status := func(session string, seq uint64) (int, string) {
		w := send(t, r, message{session: session, epoch: 1, seqs: []uint64{seq}})
		return w.Code, w.Header().Get("Retry-After")
	}
	if code := put(`[{"rate":1,"session":"a","status":429,"retry_after":"7"},{"rate":1,"session":"b","status":500,"after":true},{"rate":1,"session":"c","delay":30000000}]`); code != http.StatusNoContent {
		t.Fatal(code)
	}
	if code, after := status("a", 1); code != 429 || after != "7" {
		t.Error(code, after)
	}
	if code, _ := status("b", 2); code != 500 {
		t.Error(code)
	}
	start := time.Now()
	if code, _ := status("c", 3); code != 200 || time.Since(start) < 30*time.Millisecond {
		t.Error(code, time.Since(start))
	}
	if code, _ := status("hooked", 4); code != 418 {
		t.Error(code)
	}
	if report := r.Report(); report.Events != 2 { // b's and c's
		t.Errorf("%+v", report)
	}
	if code := put(`[]`); code != http.StatusNoContent {
		t.Fatal(code)
	}
	if code, _ := status("a", 1); code != 200 {
		t.Error(code)
	}
	for _, bad := range []string{`{}`, `[{"rat":1}]`, `x`} {
		if code := put(bad); code != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, code)
		}
	}
}

func TestMarksReportAndToken(t *testing.T) {
	r := newReceiver(t, receiver.Options{Token: "secret"})
	server := httptest.NewServer(r)
	defer server.Close()
	get := func(path, token string) (int, []byte) {
		req, err := http.NewRequest(http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, body
	}
	with := func(h http.Header) { h.Set("Authorization", "Bearer secret") }
	send(t, r, message{session: "s", epoch: 2, seqs: []uint64{3, 9}, gaps: header.Ranges{{First: 2, Last: 2}}, change: with})
	if w := send(t, r, message{session: "s", epoch: 2, seqs: []uint64{10}}); w.Code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", w.Code)
	}
	if code, _ := get("/report", "wrong"); code != http.StatusUnauthorized {
		t.Error(code)
	}
	var marks struct{ Marks []receiver.SessionMark }
	if code, body := get("/v1/sessions/marks?project_id=shop&session_id=s", "secret"); code != 200 || json.Unmarshal(body, &marks) != nil {
		t.Fatalf("%d %s", code, body)
	}
	if len(marks.Marks) != 1 || marks.Marks[0].LogID != logID || marks.Marks[0].Seq != 9 || marks.Marks[0].Epoch != 2 || marks.Marks[0].Gaps.String() != "2" {
		t.Errorf("%+v", marks)
	}
	if marks := r.Marks("shop", "nobody"); marks == nil || len(marks) != 0 {
		t.Errorf("%+v", marks)
	}
	var report receiver.Report
	if code, body := get("/report", "secret"); code != 200 || json.Unmarshal(body, &report) != nil || report.Events != 2 || report.Sessions != 1 {
		t.Errorf("%d %s", code, body)
	}
}

// TestSessionsAreBounded forgets the session that was silent for longest.
func TestSessionsAreBounded(t *testing.T) {
	r := newReceiver(t, receiver.Options{MaxSessions: 2})
	for i, session := range []string{"a", "b", "a", "c"} {
		send(t, r, message{session: session, epoch: 1, seqs: []uint64{uint64(i + 1)}})
	}
	for session, known := range map[string]int{"a": 1, "b": 0, "c": 1} {
		if n := len(r.Marks("shop", session)); n != known {
			t.Errorf("session %s: %d marks, want %d", session, n, known)
		}
	}
	if report := r.Report(); report.Sessions != 3 {
		t.Errorf("%+v", report)
	}
}

// TestForgottenSessionsDoNotSpoilTheStateFile: a session that was forgotten and
// took an event twice, or one of an epoch that was over, stands in the file as
// it was. Whoever opens it may remember what was forgotten then.
func TestForgottenSessionsDoNotSpoilTheStateFile(t *testing.T) {
	for name, again := range map[string]message{
		"an event twice":         {session: "b", epoch: 2, seqs: []uint64{2}},
		"an epoch that was over": {session: "b", epoch: 1, seqs: []uint64{9}},
	} {
		t.Run(name, func(t *testing.T) {
			o := receiver.Options{MaxSessions: 2, StateFile: filepath.Join(t.TempDir(), "state")}
			r := newReceiver(t, o)
			for _, m := range []message{
				{session: "a", epoch: 2, seqs: []uint64{1}},
				{session: "b", epoch: 2, seqs: []uint64{2}},
				{session: "a", epoch: 2, seqs: []uint64{1}}, // a repeat, which the file does not have
				{session: "c", epoch: 2, seqs: []uint64{3}}, // forgets b
				again,
			} {
				if w := send(t, r, m); w.Code != http.StatusOK {
					t.Fatalf("%+v: %d %s", m, w.Code, w.Body)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			r, err := receiver.New(o)
			if err != nil {
				t.Fatal(err)
			}
			if report := r.Report(); report.Events != 3 || report.Repeats+report.Stale != 1 || !report.InOrder() {
				t.Errorf("%+v", report)
			}
			if w := send(t, r, message{session: "b", epoch: 2, seqs: []uint64{12}}); w.Code != http.StatusOK {
				t.Errorf("afterwards: %d %s", w.Code, w.Body)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
