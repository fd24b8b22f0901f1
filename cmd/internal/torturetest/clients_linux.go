package torturetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"forebay/cmd/internal/sample"
)

const (
	clientCount    = 6
	clientSessions = 5 // of each client
	clientEvery    = 40 * time.Millisecond
	clientTimeout  = 10 * time.Second
)

// plainReply is the answer to everyone who is not to know.
const plainReply = `{"success":true}`

// receipt is what a strict key is told.
type receipt struct {
	Events []struct {
		Seq     uint64 `json:"seq"`
		Dropped string `json:"dropped"`
	} `json:"events"`
}

// newHTTPClient returns a client whose connections are its own.
func newHTTPClient() *http.Client {
	return &http.Client{Timeout: clientTimeout, Transport: &http.Transport{}}
}

// client posts batches of its sessions until the world's clients are to end. What gets no answer, or one that says to
// come back, is sent again as it was: no batch is given up.
func (w *world) client(number int) {
	events := sample.New(w.seed+uint64(number), clientSessions)
	client := newHTTPClient()
	defer client.CloseIdleConnections()
	tick := time.NewTicker(clientEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		b := events.Batch(i%clientSessions, 1+i%9)
		for !w.offer(client, number, b) {
			select {
			case <-tick.C:
			case <-w.abandon:
				w.book.problem("client %d still has no answer for the batch of %s", number, b.Keys[0])
				return
			}
		}
		select {
		case <-w.sent: // no more are to be sent
			return
		default:
		}
		<-tick.C
	}
}

// offer posts a batch once and says whether it is settled. Nobody damages the log between an answer and its note.
func (w *world) offer(client *http.Client, number int, b sample.Batch) bool {
	w.noting.RLock()
	defer w.noting.RUnlock()
	status, text, err := w.post(client, w.keyOf(number), b.Body)
	if err != nil {
		return false
	}
	switch status {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusServiceUnavailable: // a key that was revoked meanwhile; a full disk
		return false
	default:
		w.book.problem("a batch of valid events got %d %s", status, text)
		return true
	}
	if string(text) == plainReply { // to a key that the node has not heard of yet
		return false
	}
	var r receipt
	if err := json.Unmarshal(text, &r); err != nil || len(r.Events) != len(b.Keys) {
		w.book.problem("the receipt of %d events is %s", len(b.Keys), text)
		return true
	}
	settled := true
	for i, e := range r.Events {
		switch {
		case e.Seq > 0:
			w.book.accepted(e.Seq, b.Keys[i])
		case e.Dropped == "duplicate":
			w.book.repeated(b.Keys[i])
		case e.Dropped == "storage":
			settled = false
		default:
			w.book.problem("valid event %s was dropped: %s", b.Keys[i], e.Dropped)
		}
	}
	return settled
}

// stranger is a sender with an ordinary key, whose answers never differ. Half of what it sends is not worth storing.
func (w *world) stranger() {
	events := sample.New(w.seed+clientCount, 4)
	client := newHTTPClient()
	defer client.CloseIdleConnections()
	tick := time.NewTicker(clientEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		key, body := w.ordinary.text, events.Batch(i%4, 3).Body
		switch i % 6 {
		case 1:
			key = "no-such-key"
		case 3:
			body = body[:len(body)/2]
		case 5:
			body = bytes.Replace(body, []byte(`"metadata":{`), []byte(`"metadata":{"note":"write to jane.roe@example.org",`), 1)
		}
		status, text, err := w.post(client, key, body)
		if err == nil && (status != http.StatusOK || string(text) != plainReply) {
			w.book.problem("an ordinary sender got %d %s", status, text)
		}
		select {
		case <-w.sent:
			return
		case <-tick.C:
		}
	}
}

// post sends one body to the front door.
func (w *world) post(client *http.Client, key string, body []byte) (status int, text []byte, err error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+w.links[toNode].Addr()+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-API-Key", key)
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err = io.ReadAll(res.Body)
	return res.StatusCode, text, err
}

// probe is one event of a sender whose key is revoked.
func probe(key string) []byte {
	return fmt.Appendf(nil, `{"events":[{"eventType":"click","timestamp":%q,"sessionId":"probe","route":"/","target":{"type":"page"},"idempotencyKey":%q}]}`,
		time.Now().UTC().Format(time.RFC3339Nano), strings.ToLower(key))
}
