package router_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"forebay/router/auth"
	"forebay/router/routertest"
)

// wireCase is a file of testdata/wire: a request and what becomes of it.
// {key} in the request stands for the sender's key, {basic} for the same as
// HTTP Basic writes it.
type wireCase struct {
	About   string
	Key     struct{ Revoked, Expired, Origins any } // what is special about the key
	Request struct {
		Path     string
		Headers  map[string]string
		Encoding string          // the body is compressed like this
		Body     json.RawMessage // one of these three
		Text     *string
		Base64   []byte
	}
	Stored  int
	Dropped []struct {
		Index               *int // of the event; nil for the whole request
		Reason, Field, Rule string
	}
	Strict *struct { // the reply to the same request with a strict key
		Status int
		Body   json.RawMessage
	}
}

func readWireCases(t *testing.T) map[string]wireCase {
	t.Helper()
	files, err := filepath.Glob("../testdata/wire/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no wire cases: %v", err)
	}
	cases := map[string]wireCase{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c wireCase
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		cases[strings.TrimSuffix(filepath.Base(file), ".json")] = c
	}
	return cases
}

// request builds the request for a key, and returns its body as it was before
// compression.
func (c *wireCase) request(t *testing.T, key string) (*http.Request, []byte) {
	t.Helper()
	fill := strings.NewReplacer("{key}", key, "{basic}", base64.StdEncoding.EncodeToString([]byte(key+":"))).Replace
	body := c.Request.Base64
	if c.Request.Body != nil {
		body = []byte(fill(string(c.Request.Body)))
	}
	if c.Request.Text != nil {
		body = []byte(fill(*c.Request.Text))
	}
	sent := body
	if c.Request.Encoding != "" {
		sent = []byte(compress(t, c.Request.Encoding, string(body)))
	}
	req := httptest.NewRequest(http.MethodPost, fill(c.Request.Path), bytes.NewReader(sent))
	for name, value := range c.Request.Headers {
		req.Header.Set(name, fill(value))
	}
	if c.Request.Encoding != "" {
		req.Header.Set("Content-Encoding", strings.TrimPrefix(c.Request.Encoding, "raw "))
	}
	return req, body
}

func (c *wireCase) kind(strict bool) auth.Key {
	kind := auth.Key{Strict: strict}
	if c.Key.Revoked != nil {
		kind.RevokedAt = testNow.Add(-time.Hour)
	}
	if c.Key.Expired != nil {
		kind.ExpiresAt = testNow
	}
	if list, ok := c.Key.Origins.([]any); ok {
		for _, origin := range list {
			kind.Origins = append(kind.Origins, origin.(string))
		}
	}
	return kind
}

// events returns the raw events of a body that is well formed.
func (c *wireCase) events(body []byte) []string {
	var raws []string
	body = bytes.ReplaceAll(body, []byte("\ufeff"), nil)
	if strings.Contains(c.Request.Headers["Content-Type"], "ndjson") {
		for line := range strings.Lines(string(body)) {
			if line = strings.TrimSpace(line); line != "" {
				raws = append(raws, line)
			}
		}
		return raws
	}
	var batch struct{ Events []json.RawMessage }
	if json.Unmarshal(body, &batch) != nil || batch.Events == nil {
		return []string{strings.TrimSpace(string(body))}
	}
	for _, raw := range batch.Events {
		raws = append(raws, string(raw))
	}
	return raws
}

// Each case of testdata/wire, with an ordinary key and with a strict one.
func TestWireCases(t *testing.T) {
	for name, c := range readWireCases(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if good := len(c.Dropped) == 0; good != strings.HasPrefix(name, "good_") || !good && !strings.HasPrefix(name, "bad_") {
				t.Errorf("the file's name does not say whether something is dropped")
			}
			t.Run("ordinary", func(t *testing.T) { testWireCase(t, &c, false) })
			if c.Strict != nil {
				t.Run("strict", func(t *testing.T) { testWireCase(t, &c, true) })
			}
		})
	}
}

func testWireCase(t *testing.T, c *wireCase, strict bool) {
	door := routertest.Open(t, fixedClock)
	req, body := c.request(t, door.AddKey(c.kind(strict)))
	reply := httptest.NewRecorder()
	door.Router.ServeHTTP(reply, req)

	if strict {
		if reply.Code != c.Strict.Status || !sameJSON(t, reply.Body.Bytes(), c.Strict.Body) {
			t.Errorf("reply %d %s, want %d %s", reply.Code, reply.Body, c.Strict.Status, c.Strict.Body)
		}
	} else if reply.Code != http.StatusOK || reply.Body.String() != `{"success":true}` {
		t.Errorf("reply %d %s", reply.Code, reply.Body)
	}

	tally := door.Router.Tally()
	balanced(t, tally)
	wantDropped := map[string]uint64{}
	for _, d := range c.Dropped {
		wantDropped[d.Reason]++
	}
	if got := dropped(tally); !reflect.DeepEqual(got, wantDropped) {
		t.Errorf("dropped %v, want %v", got, wantDropped)
	}
	drops := door.Router.Drops(100)
	if len(drops) != len(c.Dropped) {
		t.Fatalf("%d drops, want %d: %+v", len(drops), len(c.Dropped), drops)
	}
	var want []string
	if tally.Requests.Decoded > 0 {
		want = c.events(body)
	}
	for i, d := range c.Dropped {
		if got := drops[i]; got.Reason != d.Reason || got.Field != d.Field || got.Rule != d.Rule {
			t.Errorf("drop %d is %+v, want %+v", i, got, d)
		}
		if d.Index != nil {
			want[*d.Index] = ""
		}
	}
	stored := door.Stored()
	if len(stored) != c.Stored || tally.Events.Accepted != uint64(c.Stored) {
		t.Fatalf("%d events stored, %d counted, want %d", len(stored), tally.Events.Accepted, c.Stored)
	}
	for _, raw := range want {
		if raw == "" {
			continue
		}
		if stored[0].Raw != raw {
			t.Errorf("stored %s\nsent   %s", stored[0].Raw, raw)
		}
		stored = stored[1:]
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Error(err)
	}
	return reflect.DeepEqual(x, y)
}
