package router_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/routertest"
)

var encodings = []string{"gzip", "deflate", "raw deflate", "zstd", "br"}

// post sends a body straight to a router.
func post(r *router.Router, key, encoding string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/v1/events", bytes.NewReader(body))
	if key != "" {
		req.Header.Set("X-API-Key", key)
	}
	if encoding != "" {
		req.Header.Set("Content-Encoding", strings.TrimPrefix(encoding, "raw "))
	}
	reply := httptest.NewRecorder()
	r.ServeHTTP(reply, req)
	return reply
}

// A compressed body is taken whole or not at all.
func TestCompressedBodiesCut(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	key := door.AddKey(auth.Key{})
	body := aBatch(anEvent("s", ""))
	for _, encoding := range encodings {
		whole := []byte(compress(t, encoding, body))
		for n := range len(whole) {
			post(door.Router, key, encoding, whole[:n])
		}
		post(door.Router, key, encoding, append(bytes.Clone(whole), "more"...))
	}
	if stored := door.Stored(); len(stored) != 0 {
		t.Errorf("%d events stored of bodies that are cut or go on", len(stored))
	}
	// Frames may follow each other where the format says so.
	for _, encoding := range []string{"gzip", "zstd"} {
		half := len(body) / 2
		post(door.Router, key, encoding, []byte(compress(t, encoding, body[:half])+compress(t, encoding, body[half:])))
	}
	if stored := door.Stored(); len(stored) != 2 {
		t.Errorf("%d events stored of two bodies in two frames each", len(stored))
	}
	balanced(t, door.Router.Tally())
}

// A sender that says over HTTP/1 that nothing more will come still gets its
// compressed body stored.
func TestCompressedBodyOfAHalfClosedConnection(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	key := door.AddKey(auth.Key{})
	gone, leave := context.WithCancel(t.Context())
	leave()
	const times = 20
	for range times {
		req := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(compress(t, "gzip", aBatch(anEvent("s", ""))))).WithContext(gone)
		req.Header.Set("X-API-Key", key)
		req.Header.Set("Content-Encoding", "gzip")
		door.Router.ServeHTTP(httptest.NewRecorder(), req)
	}
	if n := len(door.Stored()); n != times {
		t.Errorf("%d of %d events stored", n, times)
	}
}

// bombs are bodies of less than 500 KiB that come out at megabytes and, for
// zstd, at gigabytes.
func bombs(t *testing.T) map[string][]byte {
	const size = 500 << 10
	member := compress(t, "gzip", strings.Repeat(" ", 4<<20))
	// A zstd frame of blocks that repeat one byte 128 KiB times: 16 GB.
	frame := bytes.NewBuffer([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38})
	for frame.Len() < size-8 {
		const header = 1<<1 | (128<<10)<<3
		frame.Write([]byte{header & 0xff, header >> 8 & 0xff, header >> 16, ' '})
	}
	return map[string][]byte{
		"gzip":        bytes.Repeat([]byte(member), size/len(member)),
		"deflate":     []byte(compress(t, "deflate", strings.Repeat(" ", 8<<20))),
		"raw deflate": []byte(compress(t, "raw deflate", strings.Repeat(" ", 8<<20))),
		"zstd":        frame.Bytes(),
		"br":          []byte(compress(t, "br", strings.Repeat(" ", 8<<20))),
	}
}

// A bomb costs no more than the cap on what comes out of it.
func TestBombs(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	key := door.AddKey(auth.Key{})
	all := bombs(t)
	for _, body := range all {
		post(door.Router, key, "gzip", body) // the decompressors are made
	}
	for encoding, body := range all {
		if len(body) > 500<<10 {
			t.Fatalf("%s: the bomb has %d bytes", encoding, len(body))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const times = 10
		for range times {
			post(door.Router, key, encoding, body)
			if got := lastDrop(door.Router); got != "too_large  batch_bytes" {
				t.Errorf("%s: dropped as %q", encoding, got)
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / times; each > 24<<20 {
			t.Errorf("%s: %d bytes allocated for a bomb", encoding, each)
		}
	}
	if s := door.Router.Stats(); s != (router.Stats{}) {
		t.Errorf("left behind: %+v", s)
	}
}

// A zstd frame may not ask for more window than RFC 8878 has decoders take.
func TestZstdWindow(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	key := door.AddKey(auth.Key{})
	for _, window := range []byte{0x70, 0xa0, 0xff} { // 16 MiB, 1 GiB, 3.75 TiB
		post(door.Router, key, "zstd", []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 1<<1 | 1, 8, 0, ' '})
		if got := lastDrop(door.Router); got != "malformed  corrupt" {
			t.Errorf("%#x: dropped as %q", window, got)
		}
	}
}

// Behind gzip zero bytes are padding, as gzip itself has it. Nothing else is,
// and behind other encodings nothing at all.
func TestPadding(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	key := door.AddKey(auth.Key{})
	zeros := string(make([]byte, 1000))
	for _, tt := range []struct{ encoding, behind, drop string }{
		{"gzip", zeros, ""},
		{"gzip", "\x00", ""},
		{"gzip", zeros + "\n", "malformed  corrupt"},
		{"gzip", "garbage", "malformed  corrupt"},
		{"gzip", zeros + compress(t, "gzip", " "), "malformed  corrupt"},
		{"gzip", compress(t, "gzip", "") + compress(t, "gzip", " "), ""},
		{"gzip", compress(t, "gzip", " ") + zeros, ""},
		{"deflate", zeros, "malformed  corrupt"},
		{"zstd", zeros, "malformed  corrupt"},
		{"br", zeros, "malformed  corrupt"},
	} {
		before := len(door.Router.Drops(1000))
		post(door.Router, key, tt.encoding, []byte(compress(t, tt.encoding, aBatch(anEvent("s", "")))+tt.behind))
		drop := ""
		if len(door.Router.Drops(1000)) > before {
			drop = lastDrop(door.Router)
		}
		if drop != tt.drop {
			t.Errorf("%s with %.20q behind it (%d bytes): dropped as %q, want %q", tt.encoding, tt.behind, len(tt.behind), drop, tt.drop)
		}
	}
}

// What a body may weigh is bounded on the wire, after decompression, and in
// the number of its events.
func TestBodySizes(t *testing.T) {
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		o.Limits.BatchBytes, o.WireBytes = 2000, 3000
	})
	key := door.AddKey(auth.Key{})
	padded := func(n int) []byte {
		body := aBatch(anEvent("s", ""))
		return []byte(body + strings.Repeat(" ", n-len(body)))
	}
	for _, tt := range []struct {
		size int
		drop string
	}{{2000, ""}, {2001, "too_large  batch_bytes"}, {3000, "too_large  batch_bytes"}, {3001, "too_large  wire_bytes"}} {
		for _, encoding := range []string{"", "gzip"} {
			before := len(door.Router.Drops(1000))
			body := padded(tt.size)
			if encoding != "" {
				body = []byte(compress(t, encoding, string(body)))
			}
			reply := post(door.Router, key, encoding, body)
			want := tt.drop
			if encoding != "" && want != "" {
				want = "too_large  batch_bytes"
			}
			if got := len(door.Router.Drops(1000)) > before; got != (want != "") || got && lastDrop(door.Router) != want {
				t.Errorf("%d bytes, encoding %q: dropped as %q, want %q", tt.size, encoding, lastDrop(door.Router), want)
			}
			if closes := reply.Header().Get("Connection") == "close"; closes != strings.Contains(want, "wire") {
				t.Errorf("%d bytes: connection closes: %v", tt.size, closes)
			}
		}
	}
	balanced(t, door.Router.Tally())
}

// No request leaves memory or a place behind, whatever it is.
func TestNothingIsLeftBehind(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	key := door.AddKey(auth.Key{})
	for _, size := range []int{0, 1, 4095, 4096, 4097, 100_000, 500 << 10, 600 << 10, 3 << 20} {
		body := []byte(aBatch(anEvent("s", "")) + strings.Repeat(" ", size))
		for _, k := range []string{key, "", "fbk_0123456789abcdef"} {
			post(door.Router, k, "", body)
			post(door.Router, k, "gzip", []byte(compress(t, "gzip", string(body))))
			post(door.Router, k, "br", body)
		}
	}
	if s := door.Router.Stats(); s != (router.Stats{}) {
		t.Errorf("left behind: %+v", s)
	}
	balanced(t, door.Router.Tally())
}

func FuzzRequest(f *testing.F) {
	door := routertest.Open(f, fixedClock)
	key := door.AddKey(auth.Key{})
	good := aBatch(anEvent("s", ""))
	f.Add([]byte(good), "", "application/json", key, "", "")
	f.Add([]byte(good), "identity", "application/x-ndjson", "", "Bearer "+key, "")
	f.Add([]byte(strings.Replace(good, "{", `{"api_key":"`+key+`",`, 1)), "", "text/plain;charset=UTF-8", "", "", "api_key=%zz;x")
	f.Add([]byte("x"), "gzip, br", "a/b;;", "\x00", "Basic Og==", "api_key=a&api_key=b")
	for _, e := range encodings {
		f.Add([]byte(compress(f, e, good)), strings.TrimPrefix(e, "raw "), "", key, "", "")
	}
	f.Fuzz(func(t *testing.T, body []byte, encoding, contentType, keyHeader, authorization, query string) {
		req := httptest.NewRequest(http.MethodPost, "/v1/events", bytes.NewReader(body))
		req.URL.RawQuery = query
		req.Header.Set("Content-Encoding", encoding)
		req.Header.Set("Content-Type", contentType)
		if keyHeader != "" {
			req.Header.Set("X-API-Key", keyHeader)
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		reply := httptest.NewRecorder()
		door.Router.ServeHTTP(reply, req)
		if reply.Code != http.StatusOK || reply.Body.String() != `{"success":true}` {
			t.Errorf("reply %d %s", reply.Code, reply.Body)
		}
		if s := door.Router.Stats(); s != (router.Stats{}) {
			t.Errorf("left behind: %+v", s)
		}
		tally := door.Router.Tally()
		balanced(t, tally)
		if n := len(door.Router.Drops(10)); n > 0 && strings.Contains(fmt.Sprint(door.Router.Drops(n)), "internal") {
			t.Error("a panic was contained")
		}
	})
}
