package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"forebay/cmd/internal/sample"
	"forebay/shipper/session/header"
)

// strictNode answers as a node does to a strict key: it drops every fifth
// event, and fails the first requests in passing ways.
type strictNode struct {
	mu       sync.Mutex
	requests int
	seq      uint64
	check    *sample.Check
	accepted map[string]uint64
}

func (n *strictNode) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var body struct{ Events []json.RawMessage }
	raw, err := io.ReadAll(req.Body)
	if err != nil || json.Unmarshal(raw, &body) != nil || req.URL.Path != "/v1/events" || req.Header.Get("X-API-Key") != "key" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	switch n.requests++; n.requests {
	case 1:
		panic(http.ErrAbortHandler)
	case 2:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case 3: // a proxy whose nodes are away
		w.WriteHeader(http.StatusBadGateway)
		return
	case 4: // somebody else
		_, _ = io.WriteString(w, "<html>Welcome</html>")
		return
	}
	type result struct {
		Index   int    `json:"index"`
		Seq     uint64 `json:"seq,omitempty"`
		Dropped string `json:"dropped,omitempty"`
	}
	results := []result{}
	for i, e := range body.Events {
		var event struct {
			IdempotencyKey string `json:"idempotencyKey"`
			SessionID      string `json:"sessionId"`
		}
		if err := json.Unmarshal(e, &event); err != nil || event.SessionID != req.Header.Get("X-Session-Id") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if n.check.Event(e); i%5 == 4 {
			results = append(results, result{Index: i, Dropped: "privacy"})
			continue
		}
		n.seq++
		n.accepted[event.IdempotencyKey] = n.seq
		results = append(results, result{Index: i, Seq: n.seq})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"success": true, "accepted": len(results), "events": results})
}

// execute runs the program in this process.
func execute(ctx context.Context, args ...string) (string, error) {
	var out, errOut bytes.Buffer
	root := newRoot(&out, &errOut)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return out.String() + errOut.String(), err
}

func TestSendKeepsReceipts(t *testing.T) {
	node := &strictNode{check: sample.NewCheck(), accepted: map[string]uint64{}}
	server := httptest.NewServer(node)
	defer server.Close()
	dir := t.TempDir()
	receipts, key := filepath.Join(dir, "receipts"), filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	printed, err := execute(t.Context(), "send", "--url", server.URL, "--key-file", key, "--events", "203", "--sessions", "7",
		"--clients", "3", "--batch", "10", "--receipts", receipts, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var s summary
	if err := json.Unmarshal([]byte(printed), &s); err != nil {
		t.Fatal(err)
	}
	if s.Events != 203 || s.Receipts+s.Dropped["privacy"] != 203 || s.Receipts != len(node.accepted) || s.Retries != 4 {
		t.Errorf("%s", printed)
	}
	if r := node.check.Report(); r.Events != 203 || r.OutOfOrder+r.Missing+r.Foreign != 0 || r.Sessions != 7 {
		t.Errorf("the node saw %+v", r)
	}
	text, err := os.ReadFile(receipts)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, line := range lines {
		var r receipt
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if node.accepted[r.Key] != r.Seq || !strings.HasPrefix(r.Key, r.Session+"-") {
			t.Errorf("receipt %s", line)
		}
	}
	if len(lines) != len(node.accepted) {
		t.Errorf("%d receipts for %d events", len(lines), len(node.accepted))
	}
}

func TestSendStopsAtWhatWillNotPass(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		args   []string
		want   string
	}{
		"refused":  {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, want: "401"},
		"garbage":  {answer: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "what?") }, args: []string{"--patience", "200ms"}, want: "not a node's"},
		"patience": {answer: func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, args: []string{"--patience", "200ms"}, want: "EOF"},
		"flags":    {args: []string{"--events", "0"}, want: "--events"},
		"key":      {args: []string{"--key-file", "/nowhere"}, want: "--key-file"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			printed, err := execute(t.Context(), append([]string{"send", "--url", server.URL}, c.args...)...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %s; want %q", err, printed, c.want)
			}
		})
	}
}

// TestReceiveReportsDisorder gives the program two events in the wrong order:
// it says so and fails.
func TestReceiveReportsDisorder(t *testing.T) {
	events := func(numbers ...int) string {
		var list []string
		for _, n := range numbers {
			list = append(list, fmt.Sprintf(`{"sessionId":"s","idempotencyKey":"s-%d"}`, n))
		}
		return strings.Join(list, ",")
	}
	for name, c := range map[string]struct {
		first, second string
		fails         bool
	}{
		"in order":     {events(1, 2), events(3), false},
		"out of order": {events(1, 3), events(2), true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			said, tell := io.Pipe()
			var out bytes.Buffer
			root := newRoot(&out, tell)
			root.SetArgs([]string{"receive", "--listen", "127.0.0.1:0", "--print"})
			ended := make(chan error, 1)
			go func() { ended <- root.ExecuteContext(ctx) }()
			var url string
			if _, err := fmt.Fscanf(said, "listening on %s\n", &url); err != nil {
				t.Fatal(err)
			}
			post(t, url, 1, c.first)
			post(t, url, 10, c.second)
			var report receiveReport
			res, err := http.Get(url + "/report")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			if err := json.NewDecoder(res.Body).Decode(&report); err != nil || report.InOrder == c.fails || report.Events != 3 {
				t.Errorf("%+v, %v", report, err)
			}
			cancel()
			if err := <-ended; (err != nil) != c.fails {
				t.Errorf("%v", err)
			}
			if !strings.Contains(out.String(), "received 3 events of 1 sessions") || !strings.Contains(out.String(), "shop s: ") {
				t.Errorf("%s", &out)
			}
		})
	}
}

// TestReceiveIsNotHeldUp: requests are answered and the program ends, with an
// error, though nobody reads what it prints.
func TestReceiveIsNotHeldUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said, tell := io.Pipe()
	unread, out := io.Pipe()
	defer func() { _ = unread.Close() }() // lets the writer go
	root := newRoot(out, tell)
	root.SetArgs([]string{"receive", "--listen", "127.0.0.1:0", "--print"})
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	var url string
	if _, err := fmt.Fscanf(said, "listening on %s\n", &url); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		post(t, url, uint64(i+1), fmt.Sprintf(`{"sessionId":"s","idempotencyKey":"s-%d"}`, i+1))
	}
	cancel()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "could not be written") {
		t.Errorf("ended with %v", err)
	}
}

// post sends events of session s, with seqs from first on, as a node does.
func post(t *testing.T, url string, first uint64, events string) {
	t.Helper()
	n := uint64(strings.Count(events, "sessionId"))
	seqs := []uint64{first}
	for seq := first + 1; seq < first+n; seq++ {
		seqs = append(seqs, seq)
	}
	body := `{"project_id":"shop","session_id":"s","events":[` + events + `]}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/sessions/events", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	key := header.Key{LogID: strings.Repeat("0a", 16), Epoch: 1, Session: header.NewSessionID("shop", "s"), First: first, Last: first + n - 1}
	req.Header.Set(header.IdempotencyKey, key.String())
	req.Header.Set(header.Epoch, "1")
	req.Header.Set(header.Seqs, string(header.AppendSeqs(nil, seqs)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(fmt.Sprint(res.Status, err))
	}
}
