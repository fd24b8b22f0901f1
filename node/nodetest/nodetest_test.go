package nodetest

import (
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// record is a test that may fail without failing this one.
type record struct {
	testing.TB
	failed bool
}

func (r *record) Helper() {}

func (r *record) Fatalf(string, ...any) {
	r.failed = true
	runtime.Goexit()
}

func TestEventually(t *testing.T) {
	for name, holdsAfter := range map[string]time.Duration{"at once": 0, "in time": time.Second, "too late": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				recorded := &record{TB: t}
				done := make(chan struct{})
				go func() {
					defer close(done)
					Eventually(recorded, 2*time.Second, func() bool { return time.Since(begun) >= holdsAfter }, "%s", name)
				}()
				<-done
				waited := time.Since(begun)
				if late := holdsAfter > 2*time.Second; recorded.failed != late {
					t.Errorf("failed: %v after %v, want %v", recorded.failed, waited, late)
				}
				if limit := min(holdsAfter, 2*time.Second) + 10*time.Millisecond; waited > limit {
					t.Errorf("waited %v, want at most %v", waited, limit)
				}
			})
		})
	}
}

func TestFreeAddr(t *testing.T) {
	listener, err := net.Listen("tcp", FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
}

func TestServersAnswer(t *testing.T) {
	conn, err := net.Dial("tcp", StartPostgres(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := StartClickHouse(t).MustQuery(t, "SELECT 1"); got != "1" {
		t.Errorf("the server's SELECT 1 is %q", got)
	}
	if got := StartClickHouseEngine(t).MustQuery(t, "SELECT 1"); got != "1" {
		t.Errorf("the engine's SELECT 1 is %q", got)
	}
}
