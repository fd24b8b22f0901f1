package session

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"

	"forebay/shipper"
	"forebay/shipper/session/header"
	"forebay/wal"
)

func TestRetryAfterIsRead(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		" 7 ":                           7 * time.Second,
		"0":                             0,
		"-7":                            0,
		"7.5":                           0,
		"soon":                          0,
		"99999999":                      maxRetryAfter,
		"99999999999999999999":          0,
		"Mon, 23 Nov 2026 10:00:09 GMT": 9 * time.Second,
		"Mon, 23 Nov 2026 09:00:00 GMT": 0,
		"Tue, 24 Nov 2026 10:00:00 GMT": maxRetryAfter,
	} {
		if got := parseRetryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestExcerptIsOneShortLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "",
		"no\r\nsuch\x00 session": "no such session",
		"\xff\xfebad":            "bad",
		"\t\x1b[31mred":          "[31mred",
	} {
		if got := excerpt([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	long := make([]byte, 10_000)
	for i := range long {
		long[i] = 'x'
	}
	if got := excerpt(long); len(got) != maxExcerptBytes {
		t.Errorf("%d bytes", len(got))
	}
}

func TestNamesAreWrittenAsJSON(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		project, session := rapid.String().Draw(rt, "project"), rapid.String().Draw(rt, "session")
		raw := `{ "a" : "<&>  " }`
		r := request{project: project, session: session, events: []event{{raw: []byte(raw)}, {raw: []byte(raw)}}}
		var got struct {
			ProjectID string            `json:"project_id"`
			SessionID string            `json:"session_id"`
			Events    []json.RawMessage `json:"events"`
		}
		if err := json.Unmarshal([]byte(r.body()), &got); err != nil {
			rt.Fatal(err)
		}
		if got.ProjectID != project || got.SessionID != session || len(got.Events) != 2 || string(got.Events[1]) != raw {
			rt.Fatalf("%+v", got)
		}
	})
}

// TestStretchesKeepOrigins sorts events of sessions and origins that alternate: each
// keeps its own, and those that follow one another share theirs.
func TestStretchesKeepOrigins(t *testing.T) {
	sdks := []string{"1", "1", "2", "1", "1", "2"}
	b := &shipper.Batch{First: 1, Last: uint64(len(sdks))}
	for i, sdk := range sdks {
		b.Events = append(b.Events, shipper.Event{Seq: uint64(i + 1), Project: "shop", Session: fmt.Sprint(i / 4), SDKVersion: sdk, AppID: "web", Raw: []byte{byte(i)}})
	}
	var got []event
	for _, s := range newStretches(b) {
		got = append(got, s.events...)
	}
	for i, e := range got {
		if want := (origin{sdkVersion: sdks[i], appID: "web"}); *e.origin != want || e.seq != uint64(i+1) || e.raw[0] != byte(i) {
			t.Errorf("event %d is %+v of %+v, want %+v", i+1, e, *e.origin, want)
		}
		if i > 0 && (e.origin == got[i-1].origin) != (sdks[i] == sdks[i-1]) {
			t.Errorf("events %d and %d: shared %v", i, i+1, e.origin == got[i-1].origin)
		}
	}
	if len(got) != len(sdks) {
		t.Errorf("%d events", len(got))
	}
}

// TestSearchFindsExactlyTheBad lets a receiver refuse any request with a bad
// event in it, and walks a lane through it.
func TestSearchFindsExactlyTheBad(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 150).Draw(rt, "events")
		bad := map[uint64]bool{}
		for range rapid.IntRange(0, 6).Draw(rt, "bad") {
			bad[rapid.Uint64Range(1, uint64(n)).Draw(rt, "seq")] = true
		}
		l := &lane{}
		one := &origin{logID: wal.ID{1}}
		for i := range n {
			l.queue = append(l.queue, event{seq: uint64(i + 1), raw: []byte("{}"), origin: one})
		}
		o := Options{RequestEvents: rapid.IntRange(1, 100).Draw(rt, "most"), RequestBytes: 1 << 20}
		next, requests := uint64(1), 0
		for len(l.queue) > 0 {
			requests++
			k := l.batch(size{o.RequestEvents, o.RequestBytes}, 0, nil)
			if k < 1 || k > o.RequestEvents || l.first() != next {
				rt.Fatalf("a request of %d from %d, want up to %d from %d", k, l.first(), o.RequestEvents, next)
			}
			refused := false
			for _, e := range l.queue[:k] {
				refused = refused || bad[e.seq]
			}
			switch {
			case !refused:
				l.accept(o.RequestEvents)
			case !l.refuse(k):
				continue
			default:
				if k != 1 {
					rt.Fatalf("%d events were found at once", k)
				}
				delete(bad, l.first())
			}
			next += uint64(k)
			l.pop(k)
		}
		if len(bad) != 0 {
			rt.Fatalf("%v were accepted", bad)
		}
		if most := 2*(n/o.RequestEvents+1) + 6*24; requests > most {
			rt.Fatalf("%d requests", requests)
		}
	})
}

func TestRequestsAreCut(t *testing.T) {
	a, b := &origin{logID: wal.ID{1}}, &origin{logID: wal.ID{2}}
	big := make([]byte, 100)
	o := Options{RequestEvents: 10, RequestBytes: 250}
	for name, c := range map[string]struct {
		queue []event
		lost  header.Ranges
		want  int
	}{
		"by bytes":          {queue: []event{{1, big, a}, {2, big, a}, {3, big, a}}, want: 2},
		"one large alone":   {queue: []event{{1, make([]byte, 999), a}, {2, big, a}}, want: 1},
		"at another log":    {queue: []event{{1, nil, a}, {2, nil, a}, {3, nil, b}}, want: 2},
		"at the replay end": {queue: []event{{4, nil, a}, {5, nil, a}, {6, nil, a}}, want: 2},
		"at lost seqs":      {queue: []event{{7, nil, a}, {12, nil, a}}, lost: header.Ranges{{First: 9, Last: 9}}, want: 1},
		"not before it":     {queue: []event{{7, nil, a}, {12, nil, a}}, lost: header.Ranges{{First: 13, Last: 20}}, want: 2},
	} {
		l := &lane{queue: c.queue}
		if got := l.batch(size{o.RequestEvents, o.RequestBytes}, 5, c.lost); got != c.want {
			t.Errorf("%s: %d events, want %d", name, got, c.want)
		}
	}
}

// TestBreaker walks the breaker by hand.
func TestBreaker(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	id := func(i int) header.SessionID { return header.NewSessionID("p", fmt.Sprint(i)) }
	b := newBreaker(32, now)
	for range 100 { // one session failing for ever opens nothing
		b.failed(now, id(0), true, false, 0)
	}
	for i := range tripSessions - 1 {
		b.failed(now, id(i), true, false, 0)
	}
	if b.open {
		t.Fatal("open after nine sessions")
	}
	b.answered(now)
	for i := range tripSessions {
		if b.open {
			t.Fatalf("open after %d sessions", i)
		}
		b.failed(now, id(i), true, false, 0)
	}
	if !b.open || b.allowed(now) != 0 {
		t.Fatal("not open")
	}
	pauses := []time.Duration{}
	for range 12 {
		pauses = append(pauses, b.until.Sub(now))
		now = b.until
		if b.allowed(now) != 1 {
			t.Fatal("no probe")
		}
		b.failed(now, id(0), false, false, 0)
	}
	if last := pauses[len(pauses)-1]; last < 15*time.Second || last > 30*time.Second || pauses[0] > 100*time.Millisecond {
		t.Errorf("pauses of %v", pauses)
	}
	now = b.until
	b.failed(now, id(0), false, false, 40*time.Minute)
	if got := b.until.Sub(now); got != 40*time.Minute {
		t.Errorf("told to wait 40m, waits %s", got)
	}
	if !b.answered(now) || b.open || b.outage(now) == 0 {
		t.Error("not closed by an answer")
	}
	for n := 1; n <= 40; n++ {
		if got := b.allowed(now); got != min(n, 32) {
			t.Fatalf("%d allowed after %d answers", got, n)
		}
		b.answered(now)
	}
	b.failed(now, id(0), true, true, 0)
	if !b.open {
		t.Error("no connection, and not open")
	}
}

// TestBreakerGrowsByTime lets more out when the first ones hang.
func TestBreakerGrowsByTime(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	b := newBreaker(6, now)
	for range 60 {
		now = now.Add(500 * time.Millisecond)
		b.wait(now, b.limit)
	}
	if b.limit != 6 {
		t.Errorf("%d allowed", b.limit)
	}
	b = newBreaker(6, now)
	b.wait(now.Add(time.Hour), 1)
	if b.limit != startLimit {
		t.Error("it grew without need")
	}
}

// TestMarksFollowThePosition keeps marks above the position only, and says
// what changed only once.
func TestMarksFollowThePosition(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMarks(7)
		state := map[string]string{}
		want := map[header.SessionID]uint64{}
		low := uint64(1)
		for range rapid.IntRange(1, 30).Draw(rt, "rounds") {
			for range rapid.IntRange(0, 5).Draw(rt, "acknowledged") {
				id := header.NewSessionID("p", fmt.Sprint(rapid.IntRange(1, 5).Draw(rt, "session")))
				want[id] = max(want[id], low) + rapid.Uint64Range(0, 9).Draw(rt, "more")
				m.set(id, want[id])
			}
			low += rapid.Uint64Range(0, 12).Draw(rt, "low")
			for _, w := range m.collect(low) {
				if w.Value == nil {
					delete(state, w.Key)
				} else {
					state[w.Key] = string(w.Value)
				}
			}
			kept := 0
			for id, seq := range want {
				text, ok := state[markPrefix+id.String()]
				if ok != (seq >= low) || ok && text != fmt.Sprintf(`{"epoch":7,"seq":%d}`, seq) {
					rt.Fatalf("position %d: the mark at %d is kept as %q", low, seq, text)
				}
				if seq >= low {
					kept++
				}
			}
			if len(m.bySess) != kept {
				rt.Fatalf("%d marks in memory, want %d", len(m.bySess), kept)
			}
		}
		again := newMarks(7)
		for key, value := range state {
			if err := again.load(key, []byte(value)); err != nil {
				rt.Fatal(err)
			}
		}
		for id, seq := range want {
			if again.delivered(id, seq) != (seq >= low) || again.delivered(id, seq+1) {
				rt.Fatalf("loaded: the mark of %d is wrong", seq)
			}
		}
		if len(newMarks(8).collect(low)) != 0 || len(again.collect(low)) != 0 {
			rt.Fatal("nothing changed, and something is written")
		}
	})
}

func TestAnswersAreClassified(t *testing.T) {
	for code, want := range map[int]verdict{
		200: accepted, 201: accepted, 204: accepted, 299: accepted,
		301: failed, 304: failed, 404: failed, 405: failed, 410: failed, 421: failed, 451: failed, 499: failed, 408: failed, 425: failed, 429: failed, 407: failed, 500: failed, 503: failed, 599: failed,
		400: refused, 409: refused, 413: refused, 422: refused, 431: refused,
		401: unauthorized, 403: unauthorized,
	} {
		if got := classify(&http.Response{StatusCode: code, Header: http.Header{}}, 5, nil, nil); got.verdict != want {
			t.Errorf("%d: %d, want %d", code, got.verdict, want)
		}
	}
	for seen, want := range map[string]verdict{"6": stale, "5": refused, "4": refused, "x": refused} {
		h := http.Header{header.Epoch: {seen}}
		if got := classify(&http.Response{StatusCode: 409, Header: h}, 5, nil, nil); got.verdict != want {
			t.Errorf("epoch %s: %d, want %d", seen, got.verdict, want)
		}
	}
}

// TestSizeGrowsBack: what was learnt holds for its time, then doubles up to what is configured.
func TestSizeGrowsBack(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	most := size{events: 100, bytes: 1000}
	s := sizes{most: most, logger: slog.New(slog.DiscardHandler)}
	s.learn(now, size{events: 25, bytes: 200}, bytesAlone, "413")
	for _, step := range []struct {
		after time.Duration
		want  size
	}{
		{0, size{100, 200}}, {rememberSize - 1, size{100, 200}}, {rememberSize, size{100, 400}},
		{rememberSize + growSize, size{100, 800}}, {rememberSize + 2*growSize, most},
	} {
		if got := s.at(now.Add(step.after)); got != step.want {
			t.Errorf("after %s: %+v, want %+v", step.after, got, step.want)
		}
	}
	if s.limit != nil {
		t.Errorf("kept to %+v", s.limit)
	}
	s.learn(now, size{events: 3, bytes: 200}, eventsAlone, "431")
	if got := s.at(now.Add(24 * time.Hour)); got != most || s.limit != nil {
		t.Errorf("a day later: %+v, %+v", got, s.limit)
	}
}
