package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// answering is a node that tells its name.
type answering struct{ noNode }

func (answering) Status() Status { return Status{NodeID: "answering"} }

// silence keeps connections to every address but one from being made: to whoever
// asks, the nodes there never answer.
type silence struct {
	but   string
	begun time.Time
	end   chan struct{}

	mu    sync.Mutex
	asked map[string]time.Duration // when each address was first asked, since begun
	count int
}

// newSilence is made within the bubble of a test, and belongs to it.
func newSilence(but string) *silence {
	return &silence{but: but, begun: time.Now(), end: make(chan struct{}), asked: map[string]time.Duration{}}
}

// over returns ctx under which connections are made as silence says. It does so by
// a trace, since only the part before the first use of a socket can go by the
// clock of synctest.
func (s *silence) over(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{ConnectStart: func(_, addr string) {
		if addr == s.but {
			return
		}
		s.mu.Lock()
		s.asked[addr] = time.Since(s.begun)
		s.count++
		s.mu.Unlock()
		<-s.end
	}})
}

// times is how often connections were begun.
func (s *silence) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// stop lets the connections fail, once nobody waits for them any more.
func (s *silence) stop() {
	time.Sleep(time.Minute) // of synctest
	close(s.end)
	synctest.Wait()
}

// TestAskNodesEnds: of many nodes that never answer a few are asked at a time, each
// for ten seconds and all for a minute; the others' answers are given all the same.
func TestAskNodesEnds(t *testing.T) {
	server := httptest.NewServer(NewHandler(Options{Node: answering{}})) // its goroutines do not belong to the bubble
	defer server.Close()
	there := strings.TrimPrefix(server.URL, "http://")
	synctest.Test(t, func(t *testing.T) {
		var addrs []string
		for i := range 100 {
			addrs = append(addrs, fmt.Sprintf("127.0.0.%d:1", i+2))
		}
		addrs[0], addrs[20] = there, there
		s := newSilence(there)
		rows := AskNodes(s.over(t.Context()), addrs, "")
		if took := time.Since(s.begun); took != time.Minute {
			t.Errorf("the question took %s, want a minute", took)
		}
		s.stop()
		for i, row := range rows {
			if row.Addr != addrs[i] {
				t.Errorf("row %d is of %s, want %s", i, row.Addr, addrs[i])
			}
			if row.Addr == there {
				if row.Error != "" || row.Status == nil || row.Status.NodeID != "answering" {
					t.Errorf("row %d of a node that answers: %+v", i, row)
				}
			} else if row.Status != nil || !strings.Contains(row.Error, context.DeadlineExceeded.Error()) {
				t.Errorf("row %d of a node that does not answer: %+v", i, row)
			}
		}
		at := map[time.Duration]int{}
		for _, when := range s.asked {
			at[when]++
		}
		for round := range 6 {
			when := time.Duration(round) * nodeTimeout
			if at[when] != nodesAtOnce {
				t.Errorf("after %s %d nodes were asked, want %d", when, at[when], nodesAtOnce)
			}
			delete(at, when)
		}
		delete(at, allTimeout) // both limits end at once: the next nodes may begin to be asked just before
		if len(at) > 0 {
			t.Errorf("nodes were asked in between, or after the minute: %v", at)
		}
	})
}

// TestFleetAsksOnceForAll: who comes while the others are asked gets the same answer;
// who has gone meanwhile waits no longer.
func TestFleetAsksOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSilence("")
		h := NewHandler(Options{Node: answering{}, Nodes: func() []string { return []string{"127.0.0.2:1"} }})
		ask := func(ctx context.Context) <-chan *httptest.ResponseRecorder {
			answered := make(chan *httptest.ResponseRecorder, 1)
			r := httptest.NewRequestWithContext(s.over(ctx), http.MethodGet, "/admin/v1/fleet", nil)
			r.RemoteAddr, r.Host = "", "localhost"
			go func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				answered <- w
			}()
			synctest.Wait()
			return answered
		}
		check := func(who string, w *httptest.ResponseRecorder, after time.Duration, times int) {
			t.Helper()
			var rows []NodeStatus
			if err := json.Unmarshal(w.Body.Bytes(), &rows); err != nil || w.Code != http.StatusOK || len(rows) != 2 {
				t.Fatalf("%s: %d %s: %v", who, w.Code, w.Body, err)
			}
			if rows[0].Status == nil || rows[1].Status != nil || !strings.Contains(rows[1].Error, context.DeadlineExceeded.Error()) {
				t.Errorf("%s: %s", who, w.Body)
			}
			if since, asked := time.Since(s.begun), s.times(); since != after || asked != times {
				t.Errorf("%s: answered after %s, the node was asked %d times; want %s, %d", who, since, asked, after, times)
			}
		}
		first := ask(t.Context())
		gone, leave := context.WithCancel(t.Context())
		second, third := ask(gone), ask(t.Context())
		leave()
		synctest.Wait()
		select {
		case w := <-second:
			if w.Code == http.StatusOK || !strings.Contains(w.Body.String(), context.Canceled.Error()) {
				t.Errorf("who has gone: %d %s", w.Code, w.Body)
			}
		default:
			t.Error("who has gone waits for the others' answers")
		}
		check("who came first", <-first, nodeTimeout, 1)
		check("who came meanwhile", <-third, nodeTimeout, 1)
		check("who comes at once", <-ask(t.Context()), nodeTimeout, 1)
		time.Sleep(fleetAge + time.Second)
		check("who comes later", <-ask(t.Context()), 2*nodeTimeout+fleetAge+time.Second, 2)
		s.stop()
	})
}
