package node_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/router"
)

// logBuffer keeps what is logged, at every level.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

const (
	// refusedMark is in everything that is sent in requests and events that are
	// refused: the node keeps it nowhere. Names of members that look like names
	// are shown as fields, so there it stands in one that does not.
	refusedMark = "Zq7391refused"
	// keptMark is in events that are accepted: it is in the log, and where they
	// are delivered to, and nowhere else. Sessions are named to operators, who
	// must find them at the Session Manager.
	keptMark = "Zq5512kept"
)

// secretRequests are requests with the mark in every place that a request has.
func secretRequests(url, key string) (all []*http.Request) {
	add := func(path, body string, headers ...string) {
		req, err := http.NewRequest(http.MethodPost, url+path, strings.NewReader(body))
		if err != nil {
			panic(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Add(headers[i], headers[i+1])
		}
		all = append(all, req)
	}
	const mark, mail = refusedMark, refusedMark + "@example.com"
	good := `{"events":[` + nodetest.Event("s", "") + `]}`
	// Keys, in all places, well formed and not.
	for _, k := range []string{"fbk_" + mark, mark, mark + " x", mark + strings.Repeat("k", 300)} {
		add("/v1/events", good, "X-API-Key", k)
		add("/v1/events", good, "Authorization", "Bearer "+k)
		add("/v1/events", strings.Replace(good, "{", `{"api_key":"`+k+`",`, 1))
	}
	add("/v1/events?api_key="+mark, good)
	add("/v1/events?api_key=%zz"+mark, good)
	add("/v1/events", good)
	all[len(all)-1].SetBasicAuth(mark, mark)
	// Paths and headers, of requests that are known and not.
	for _, k := range []string{key, "fbk_" + mark} {
		add("/v1/"+mark, good, "X-API-Key", k)
		add("/v1/events/"+mark+"?note="+mail, good, "X-API-Key", k)
		for _, name := range []string{"Content-Type", "Content-Encoding", "Origin", "Referer", "User-Agent", "Cookie", "X-Forwarded-For", "X-" + mark, "Expect"} {
			add("/v1/events", "{"+mark, "X-API-Key", k, name, mark)
		}
		add("/v1/events", mark, "X-API-Key", k)
		add("/v1/events", mark, "X-API-Key", k, "Content-Encoding", "gzip")
		add("/v1/events", mark+"\n{"+mark+"\n", "X-API-Key", k, "Content-Type", "application/x-ndjson")
		add("/v1/events", `{"of `+mark+`":1,"of `+mark+`":2}`, "X-API-Key", k)
		add("/v1/events", `{"sdk_version":"`+mail+`","app_id":7,"events":"`+mark+`"}`, "X-API-Key", k)
		add("/v1/events", `{"sdk_version":"`+mail+`","app_id":"`+mail+`","events":[`+nodetest.Event("s", "")+`]}`, "X-API-Key", k)
	}
	for _, e := range refusedEvents() {
		add("/v1/events", `{"events":[`+e+`]}`, "X-API-Key", key)
		add("/v1/event", e, "X-API-Key", key)
	}
	return all
}

// refusedEvents have the mark as a value, as a name, in a wrong type and in
// personal data, in every member.
func refusedEvents() (all []string) {
	const mark, mail = refusedMark, refusedMark + "@example.com"
	good := nodetest.Event("s", "")
	for _, value := range []string{`{"` + mark + `":1}`, `["` + mark + `"]`, `"` + mail + `"`, `"` + mark + `\u0000"`, `"` + mark + `\ud800"`, `"` + strings.Repeat(mark, 1000) + `"`} {
		for _, name := range []string{"metadata", "environment", "idempotencyKey", "note"} {
			all = append(all, nodetest.Event("s", `,"`+name+`":{"a":[`+value+`]},"b":"`+mail+`"`))
		}
		all = append(all, strings.Replace(good, `"s"`, value, 1), strings.Replace(good, `"click"`, value, 1), strings.Replace(good, `"/"`, value, 1),
			strings.Replace(good, `"page"`, value, 1), strings.Replace(good, `"timestamp":"`, `"timestamp":`+value+`,"x":"`, 1))
	}
	return append(all,
		nodetest.Event("s", `,"`+mail+`":1`), nodetest.Event("s", `,"of `+mark+`":1,"of `+mark+`":2`), nodetest.Event("s", `,"n":1e999,"note":"`+mark+`"`),
		nodetest.Event("s", `,"metadata":{"email":"`+mark+`"}`), nodetest.Event(mail, ""), `"`+mark+`"`, `{"`+mark+`":`,
		strings.Replace(good, `"timestamp":"20`, `"timestamp":"`+mark+`20`, 1), strings.Replace(good, `"route":"/"`, `"route":"/`+mail+`"`, 1))
}

// around is the place of a text in which the mark stands, for a failure.
func around(text, mark string) string {
	at := strings.Index(text, mark)
	return text[max(0, at-300):min(len(text), at+100)]
}

// fetched is what the admin listener says to GETs of the paths.
func fetched(t *testing.T, n *nodetest.Node, paths ...string) (all string) {
	t.Helper()
	for _, path := range paths {
		res, err := http.Get(n.AdminURL + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		all += path + string(text)
	}
	return all
}

// No key and no value of an event is in what the node says or answers, nor, of
// what it refused, in what it keeps.
func TestNothingTellsSecrets(t *testing.T) {
	// A Session Manager that repeats what it is sent, in every kind of answer.
	answers := []int{http.StatusBadRequest, http.StatusConflict, http.StatusInternalServerError, http.StatusUnprocessableEntity}
	var mu sync.Mutex
	calls := 0
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		status := answers[calls%len(answers)]
		calls++
		mu.Unlock()
		w.Header().Set("X-Echo", keptMark)
		w.WriteHeader(status)
		_, _ = w.Write(append([]byte("no: "+keptMark+" "), body...))
	}))
	defer echo.Close()

	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	c.Shippers.Session.Enabled = true
	c.Shippers.Session.URL = echo.URL
	c.WAL.Compression = "none" // so that the files can be searched
	var logged logBuffer
	n := nodetest.RunWith(t, c, node.Options{Version: "test", Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})

	replies := ""
	client := &http.Client{Timeout: time.Minute}
	for _, req := range secretRequests(n.URL, key) {
		res, err := client.Do(req)
		if err != nil {
			continue // net/http has refused to send it
		}
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		res.Header.Del("Access-Control-Allow-Origin") // an echo that browsers need
		replies += fmt.Sprint(res.Status, res.Header, string(text))
	}
	drops := 0
	if err := n.Admin.Drops(ctx, admin.DropFilter{}, func(router.Drop) error { drops++; return nil }); err != nil || drops < 150 {
		t.Errorf("%d drops, %v: the requests were not refused", drops, err)
	}
	for i := range 20 {
		n.Post(key, nodetest.Event(fmt.Sprint("s", i), `,"idempotencyKey":"`+keptMark+fmt.Sprint(i)+`","metadata":{"note":"`+keptMark+`"}`))
	}
	nodetest.Eventually(t, time.Minute, func() bool { mu.Lock(); defer mu.Unlock(); return calls >= len(answers) }, "the Session Manager has given every answer")

	replies += fetched(t, n,
		"/metrics", "/healthz", "/readyz", "/admin/v1/status", "/admin/v1/history", "/admin/v1/log", "/admin/v1/cursors", "/admin/v1/cursors/session",
		"/admin/v1/audit-log", "/admin/v1/wal/segments", "/admin/v1/wal/verify", "/admin/v1/drops", "/debug/pprof/", "/debug/vars")
	n.Stop()
	all := map[string]string{"what was answered": replies, "what was logged": logged.String()}
	for where, text := range all {
		for what, mark := range map[string]string{"of what was refused": refusedMark, "of what was accepted": keptMark, "the key": key} {
			if strings.Contains(text, mark) {
				t.Errorf("%s tells %s: %s", where, what, around(text, mark))
			}
		}
	}
	if len(logged.String()) < 500 || len(replies) < 10_000 {
		t.Errorf("%d bytes were logged and %d answered: the test looks at nothing", len(logged.String()), len(replies))
	}
	// The directory: the log, uncompressed here, Pebble, and the archive.
	kept := false
	err := filepath.WalkDir(filepath.Dir(c.Node.DataDir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		kept = kept || bytes.Contains(text, []byte(keptMark))
		for what, mark := range map[string]string{"something that was refused": refusedMark, "the key": key} {
			if bytes.Contains(text, []byte(mark)) {
				t.Errorf("%s holds %s", path, what)
			}
		}
		return err
	})
	if err != nil || !kept {
		t.Errorf("what was accepted is not found on disk: %v", err)
	}
}
