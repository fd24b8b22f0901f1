package node_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/nodetest"
)

// streamed reads events of a stream until want has seen what it waits for.
func streamed(t *testing.T, url string, want func(name, data string) bool) {
	t.Helper()
	client := &http.Client{Timeout: time.Minute}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		text, _ := io.ReadAll(res.Body)
		t.Fatalf("%s: %s, Content-Type %s: %s", url, res.Status, got, text)
	}
	name := ""
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			name = value
		case "data":
			if want(name, value) {
				return
			}
		}
	}
	t.Fatalf("%s ended before it said what it should", url)
}

// One stream tells the status, the drops and the node's own log lines, since a
// browser opens few connections to one host.
func TestLiveStreamTellsAll(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	seen := map[string]bool{}
	streamed(t, n.AdminURL+"/admin/v1/live", func(name, data string) bool {
		if len(seen) == 0 {
			n.Post(key, nodetest.Event("s", `,"metadata":{"email":"x"}`))
			nodetest.Key(t, c) // that the keys were loaded anew is logged
		}
		var s admin.Status
		switch name {
		case "status":
			if err := json.Unmarshal([]byte(data), &s); err != nil || s.NodeID != "test" {
				t.Errorf("status: %v: %s", err, data)
			}
		case "drop":
			if !strings.Contains(data, `"reason":"privacy"`) {
				t.Errorf("drop: %s", data)
			}
		case "log":
			if !json.Valid([]byte(data)) {
				t.Errorf("log line: %s", data)
			}
		}
		seen[name] = true
		return seen["status"] && seen["drop"] && seen["log"]
	})
	res, err := http.Get(n.AdminURL + "/admin/v1/live?topics=secrets")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown topic: %s", res.Status)
	}
}

// What the node logged is kept for operators, even where it logs to nowhere.
func TestLogLinesAreKept(t *testing.T) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	res, err := http.Get(n.AdminURL + "/admin/v1/log")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(text), `"log_id"`) || !strings.Contains(string(text), `"msg":"node runs"`) {
		t.Errorf("the log: %v\n%s", err, text)
	}
}

// The last hour is told point by point, and only what is new to who asks so.
func TestHistoryIsTold(t *testing.T) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	var h admin.History
	nodetest.Eventually(t, time.Minute, func() bool {
		res, err := http.Get(n.AdminURL + "/admin/v1/history")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return json.NewDecoder(res.Body).Decode(&h) == nil && len(h.Points) > 0
	}, "a first point")
	if _, ok := h.Points[0].Cursors["archive"]; !ok || h.EverySeconds <= 0 {
		t.Errorf("history: %+v", h)
	}
	res, err := http.Get(n.AdminURL + "/admin/v1/history?since=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&h); err != nil || len(h.Points) != 0 {
		t.Errorf("after all points: %+v, %v", h, err)
	}
}

// One address cannot keep the node from its other work; a probe is answered
// all the same.
func TestAdminRequestsAreLimited(t *testing.T) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	refused := false
	for i := 0; i < 100_000 && !refused; i++ {
		res, err := http.Get(n.AdminURL + "/admin/v1/cursors")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if refused = res.StatusCode == http.StatusTooManyRequests; refused && res.Header.Get("Retry-After") == "" {
			t.Error("a refusal without Retry-After")
		}
	}
	if !refused {
		t.Error("no request was refused")
	}
	for range 2000 {
		res, err := http.Get(n.AdminURL + "/healthz")
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("a probe: %v, %v", res, err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
