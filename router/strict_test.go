package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/routertest"
	"forebay/wal"
)

// A strict sender learns what happened to a request that was dropped whole, and
// when to come again.
func TestStrictRefusals(t *testing.T) {
	log := &failingLog{}
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		log.Log = o.Log
		o.Log = log
		o.MaxBytes = 64 << 10
		o.WireBytes = 1 << 20
	})
	key := door.AddKey(auth.Key{Strict: true})
	limited := door.AddKey(auth.Key{Strict: true, RequestsPerSecond: 0.01, Burst: 1})
	post(door.Router, limited, "", nil)
	batch := aBatch(anEvent("s", ""))
	for _, tt := range []struct {
		name   string
		key    string
		body   string
		log    error
		status int
		reply  string
		retry  int // at least and at most, in seconds; 0: no header
	}{
		{"malformed", key, "{", nil, 400, `{"success":false,"error":"malformed","rule":"syntax"}`, 0},
		{"field", key, `{"events":1}`, nil, 400, `{"success":false,"error":"malformed","field":"events","rule":"type"}`, 0},
		{"wire cap", key, strings.Repeat(" ", 1<<20+1), nil, 413, `{"success":false,"error":"too_large","rule":"wire_bytes"}`, 0},
		{"no room", key, strings.Repeat(" ", 100<<10), nil, 503, `{"success":false,"error":"overloaded","rule":"in_flight_bytes"}`, 1},
		{"rate limited", limited, batch, nil, 429, `{"success":false,"error":"rate_limited"}`, 100},
		{"log", key, batch, &wal.UnavailableError{Cause: errors.New("disk")}, 503, `{"success":false,"error":"storage","rule":"log_unavailable"}`, 5},
		{"backlog", key, batch, wal.ErrOverloaded, 503, `{"success":false,"error":"storage","rule":"append_backlog"}`, 5},
		{"entry", key, batch, wal.ErrTooLarge, 503, `{"success":false,"error":"storage","rule":"entry_bytes"}`, 5},
		{"log with an invalid event", key, aBatch(anEvent("s", ""), "{}"), wal.ErrOverloaded, 503, `{"success":false,"error":"storage","rule":"append_backlog"}`, 5},
		{"only invalid events", key, aBatch("{}"), wal.ErrOverloaded, 200,
			`{"success":true,"accepted":0,"events":[{"index":0,"dropped":"invalid","field":"eventType","rule":"missing"}]}`, 0},
		{"again", key, batch, nil, 200, `{"success":true,"accepted":1,"first_seq":1,"events":[{"index":0,"seq":1}]}`, 0},
	} {
		log.fail(tt.log)
		reply := post(door.Router, tt.key, "", []byte(tt.body))
		retry, _ := strconv.Atoi(reply.Header().Get("Retry-After"))
		if reply.Code != tt.status || reply.Body.String() != tt.reply || retry != tt.retry {
			t.Errorf("%s: %d %s, retry after %d, want %d %s, %d", tt.name, reply.Code, reply.Body, retry, tt.status, tt.reply, tt.retry)
		}
	}
	balanced(t, door.Router.Tally())
}

// Concurrent senders repeat each other's events while the log fails now and
// then: no idempotency key is stored twice, what a receipt calls accepted is in
// the log under that seq, and what it calls a duplicate is in the log too.
func TestReceiptsAreTrue(t *testing.T) {
	flaky := &flakyLog{random: rand.New(rand.NewPCG(1, 2))}
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		flaky.Log = o.Log
		o.Log = flaky
	})
	key := door.AddKey(auth.Key{Strict: true})
	accepted := make(map[string]uint64) // seq by idempotency key
	repeated := make(map[string]bool)
	var mu sync.Mutex
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 7))
			for range 60 {
				names := make([]string, 1+random.IntN(5))
				events := make([]string, len(names))
				for i := range names {
					names[i] = fmt.Sprint("k", random.IntN(150))
					events[i] = anEvent("s", `,"idempotencyKey":"`+names[i]+`"`)
				}
				reply := post(door.Router, key, "", []byte(aBatch(events...)))
				if reply.Code == http.StatusServiceUnavailable {
					continue
				}
				var receipt struct {
					Events []struct {
						Index   int
						Seq     uint64
						Dropped string
					}
				}
				if err := json.Unmarshal(reply.Body.Bytes(), &receipt); err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, e := range receipt.Events {
					name := names[e.Index]
					switch {
					case e.Dropped == "duplicate":
						repeated[name] = true
					case e.Dropped == "" && accepted[name] != 0:
						t.Errorf("%s was accepted twice, as %d and %d", name, accepted[name], e.Seq)
					case e.Dropped == "":
						accepted[name] = e.Seq
					}
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(accepted) < 50 || len(repeated) < 50 {
		t.Fatalf("%d accepted, %d repeated: too few to tell anything", len(accepted), len(repeated))
	}
	bySeq := map[uint64]string{}
	for _, e := range door.Stored() {
		bySeq[e.Seq] = e.Raw
	}
	for name, seq := range accepted {
		if !strings.Contains(bySeq[seq], `"`+name+`"`) {
			t.Errorf("%s was accepted as %d, which holds %s", name, seq, bySeq[seq])
		}
	}
	for name := range repeated {
		if accepted[name] == 0 {
			t.Errorf("%s was called a duplicate and is not stored", name)
		}
	}
	if len(bySeq) != len(accepted) {
		t.Errorf("%d events stored, %d accepted", len(bySeq), len(accepted))
	}
	balanced(t, door.Router.Tally())
}

// A pipeline that panics drops its request, counted, and the node lives on.
func TestPanicIsContained(t *testing.T) {
	log := &panickingLog{}
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		log.Log = o.Log
		o.Log = log
	})
	ordinary, strict := door.AddKey(auth.Key{}), door.AddKey(auth.Key{Strict: true})
	batch := []byte(aBatch(anEvent("s", `,"idempotencyKey":"k"`), "{}"))
	if reply := post(door.Router, ordinary, "", batch); reply.Code != 200 || reply.Body.String() != `{"success":true}` {
		t.Errorf("%d %s", reply.Code, reply.Body)
	}
	if reply := post(door.Router, strict, "", batch); reply.Code != 503 {
		t.Errorf("%d %s", reply.Code, reply.Body)
	}
	log.calm = true
	if reply := post(door.Router, strict, "", batch); reply.Code != 200 || !strings.Contains(reply.Body.String(), `"accepted":1`) {
		t.Errorf("the idempotency key is still held: %d %s", reply.Code, reply.Body)
	}
	if s := door.Router.Stats(); s != (router.Stats{}) {
		t.Errorf("left behind: %+v", s)
	}
	balanced(t, door.Router.Tally())
}

// A sender that goes away after its body does not undo its request.
func TestSenderGoesAway(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		o.Log = &gatedLog{Log: o.Log, entered: entered, release: release}
	})
	key := door.AddKey(auth.Key{})
	req := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(aBatch(anEvent("s", ""))))
	req.Header.Set("X-API-Key", key)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		door.Router.ServeHTTP(httptest.NewRecorder(), req.WithContext(ctx))
	}()
	<-entered
	cancel()
	close(release)
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the request does not end")
	}
	if n := len(door.Stored()); n != 1 {
		t.Errorf("%d events stored", n)
	}
}
