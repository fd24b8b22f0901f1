package receiver_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"forebay/shipper/session/header"
	"forebay/shipper/session/receiver"
)

// fence matches an example's request or answer.
var fence = regexp.MustCompile("(?s)```http\n(.*?)```\n")

// TestDocument plays the examples of DELIVERY.md to a receiver: those under
// one heading to one receiver, in order.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../../DELIVERY.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(page), "\n#### Example: ")[1:]
	if len(examples) < 3 {
		t.Fatalf("%d examples found", len(examples))
	}
	for _, example := range examples {
		title, text, _ := strings.Cut(example, "\n")
		text, _, _ = strings.Cut(text, "\n### ")
		t.Run(title, func(t *testing.T) { play(t, fence.FindAllStringSubmatch(text, -1)) })
	}
}

// play sends each request and compares its answer with the one that follows.
func play(t *testing.T, blocks [][]string) {
	r, err := receiver.New(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) < 4 || len(blocks)%2 != 0 {
		t.Fatalf("%d blocks: want requests, each with its answer", len(blocks))
	}
	for i := 0; i < len(blocks); i += 2 {
		t.Run(fmt.Sprint("request ", i/2+1), func(t *testing.T) {
			req := readRequest(t, blocks[i][1])
			want, err := http.ReadResponse(bufio.NewReader(strings.NewReader(blocks[i+1][1])), req)
			if err != nil {
				t.Fatal(err)
			}
			got := httptest.NewRecorder()
			r.ServeHTTP(got, req)
			wantBody, err := io.ReadAll(want.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got.Code != want.StatusCode || strings.TrimSpace(got.Body.String()) != strings.TrimSpace(string(wantBody)) ||
				got.Header().Get(header.Epoch) != want.Header.Get(header.Epoch) {
				t.Errorf("answered %d %s, the document says %d %s", got.Code, got.Body, want.StatusCode, wantBody)
			}
		})
	}
	if report := r.Report(); !report.InOrder() {
		t.Errorf("%+v", report)
	}
}

// readRequest reads a request as the document shows it: its length is left
// out for reading.
func readRequest(t *testing.T, text string) *http.Request {
	t.Helper()
	head, body, found := strings.Cut(text, "\n\n")
	if !found {
		t.Fatalf("no body in\n%s", text)
	}
	body = strings.TrimSpace(body)
	full := fmt.Sprintf("%s\r\nContent-Length: %d\r\n\r\n%s", strings.ReplaceAll(head, "\n", "\r\n"), len(body), body)
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(full)))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return req
}
