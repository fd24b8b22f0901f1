package router_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"forebay/router"
	"forebay/router/auth"
	"forebay/wal"
)

// testNow is the clock of tests whose events bear fixed times.
var testNow = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func fixedClock(o *router.Options) { o.Now = func() time.Time { return testNow } }

// anEvent is a good event with the given session and extra members.
func anEvent(session, extra string) string {
	return `{"eventType":"click","timestamp":"2026-11-23T09:59:58.123Z","sessionId":"` + session + `","route":"/cart",` +
		`"target":{"type":"element","id":"buy","selector":"#buy","tagName":"button"},"metadata":{"clientX":10}` + extra + `}`
}

// aBatch is a body with the given events.
func aBatch(events ...string) string {
	return `{"sdk_version":"1.0.0","app_id":"shop","events":[` + strings.Join(events, ",") + `]}`
}

// failingLog refuses appends with an error while one is set.
type failingLog struct {
	router.Log
	err atomic.Pointer[error]
}

func (l *failingLog) fail(err error) { l.err.Store(&err) }

func (l *failingLog) Append(ctx context.Context, e wal.Entry) (uint64, error) {
	if err := l.err.Load(); err != nil && *err != nil {
		return 0, *err
	}
	return l.Log.Append(ctx, e)
}

// compress encodes body as the Content-Encoding says; "raw deflate" is deflate
// without zlib's frame.
func compress(t testing.TB, encoding, body string) string {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "raw deflate":
		w, err = flate.NewWriter(&out, flate.BestSpeed)
	case "zstd":
		w, err = zstd.NewWriter(&out)
	case "br":
		w = brotli.NewWriter(&out)
	default:
		t.Fatalf("no encoding %q", encoding)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// balanced fails the test if the tally does not add up or something is still in
// flight.
func balanced(t testing.TB, tally router.Tally) {
	t.Helper()
	if requests, events := tally.Imbalance(); requests != 0 || events != 0 {
		t.Errorf("the tally is off by %d requests and %d events: %+v", requests, events, tally)
	}
	if tally.Requests.InFlight != 0 || tally.Events.InFlight != 0 {
		t.Errorf("in flight: %d requests, %d events", tally.Requests.InFlight, tally.Events.InFlight)
	}
}

// dropped adds up what a tally has dropped, by reason, without the zeros.
func dropped(tally router.Tally) map[string]uint64 {
	all := map[string]uint64{}
	for _, reasons := range []map[string]uint64{tally.Requests.Dropped, tally.Events.Dropped} {
		for reason, n := range reasons {
			if n > 0 {
				all[reason] = n
			}
		}
	}
	return all
}

// lastDrop describes the newest drop as "reason field rule".
func lastDrop(r *router.Router) string {
	drops := r.Drops(1)
	if len(drops) == 0 {
		return ""
	}
	return fmt.Sprintf("%s %s %s", drops[0].Reason, drops[0].Field, drops[0].Rule)
}

// flakyLog fails one append in four.
type flakyLog struct {
	router.Log
	mu     sync.Mutex
	random *rand.Rand
}

func (l *flakyLog) Append(ctx context.Context, e wal.Entry) (uint64, error) {
	l.mu.Lock()
	fail := l.random.IntN(4) == 0
	l.mu.Unlock()
	if fail {
		return 0, wal.ErrOverloaded
	}
	return l.Log.Append(ctx, e)
}

// panickingLog panics until it is calm.
type panickingLog struct {
	router.Log
	calm bool
}

func (l *panickingLog) Append(ctx context.Context, e wal.Entry) (uint64, error) {
	if !l.calm {
		panic("the log has a bug")
	}
	return l.Log.Append(ctx, e)
}

// gatedLog tells when an append has come, and holds it until it is released.
type gatedLog struct {
	router.Log
	entered chan<- struct{}
	release <-chan struct{}
}

func (l *gatedLog) Append(ctx context.Context, e wal.Entry) (uint64, error) {
	l.entered <- struct{}{}
	<-l.release
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return l.Log.Append(ctx, e)
}

// onePerAddress lets one request of each address through, and all of keys.
type onePerAddress struct{ seen map[string]bool }

func (l onePerAddress) Allow(auth.Key) (bool, time.Duration) { return true, 0 }

func (l onePerAddress) AllowAddr(addr netip.Addr) (bool, time.Duration) {
	defer func() { l.seen[addr.String()] = true }()
	return !l.seen[addr.String()], time.Second
}
