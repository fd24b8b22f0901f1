package session

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"forebay/shipper/session/header"
	"forebay/wal"
)

const (
	drainTimeout   = 2 * time.Second // for the body of an answer, once its status is known
	maxAnswerBytes = 64 << 10        // of an answer's body; the rest is not read
)

// client speaks HTTP with one Session Manager.
type client struct {
	http    transports
	url     *url.URL
	token   tokenFile
	gzip    bool
	timeout time.Duration
}

func newClient(o Options) (*client, error) {
	target, err := url.Parse(strings.TrimRight(o.URL, "/") + "/v1/sessions/events")
	if err != nil {
		return nil, fmt.Errorf("session: url: %w", err)
	}
	c := &client{
		http:    transports{lanes: o.Lanes, caFile: o.CAFile, logger: o.Logger},
		url:     target,
		token:   tokenFile{path: o.TokenFile},
		gzip:    o.Gzip,
		timeout: o.Timeout,
	}
	if _, err := c.http.current(); err != nil {
		return nil, err
	}
	return c, nil
}

// post sends one request and reads what became of it. The answer's body
// counts for nothing but a few words about a refusal.
func (c *client) post(ctx context.Context, r request) answer {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body := r.body()
	h := make(http.Header, 10)
	r.setHeader(h)
	if c.gzip {
		var err error
		if body, err = compress(body); err != nil {
			return answer{verdict: failed, err: err}
		}
		h["Content-Encoding"] = []string{"gzip"}
	}
	res, err := c.do(ctx, http.MethodPost, c.url, h, body)
	if err != nil {
		return failure(err, c.timeout)
	}
	text, cut := readAnswer(ctx, res, cancel)
	a := classify(res, r.epoch, text, cut)
	if a.verdict == unauthorized {
		if now, err := c.token.authorization(); err == nil && now != res.Request.Header.Get("Authorization") {
			return answer{verdict: failed, err: fmt.Errorf("%w: the token has been replaced meanwhile", a.err)}
		}
	}
	return a
}

// readAnswer reads the body of an answer, as far as it comes in time, so that
// the connection can be used again. What does not come in time is of no
// interest; cut is how a body ended that ended too early.
func readAnswer(ctx context.Context, res *http.Response, hangUp context.CancelFunc) (text []byte, cut error) {
	if res.ContentLength != 0 {
		late := time.AfterFunc(drainTimeout, hangUp)
		text, cut = io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
		late.Stop()
		if ctx.Err() != nil {
			cut = nil
		}
	}
	_ = res.Body.Close()
	return text, cut
}

// do sends a request with the token in force.
func (c *client) do(ctx context.Context, method string, target *url.URL, h http.Header, body string) (*http.Response, error) {
	authorization, err := c.token.authorization()
	if err != nil {
		return nil, err
	}
	if authorization != "" {
		h["Authorization"] = []string{authorization}
	}
	h["User-Agent"] = []string{"forebay"}
	req := &http.Request{
		Method: method, URL: target, Host: target.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if body != "" {
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
		req.Body = io.NopCloser(strings.NewReader(body))
	}
	transport, err := c.http.current()
	if err != nil {
		return nil, err
	}
	res, err := transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, target, err)
	}
	return res, nil
}

// probe asks, without sending events, whether the credentials are still
// refused. Services differ in what they say to a GET, but nearly all look at
// the token first.
func (c *client) probe(ctx context.Context) error {
	res, err := c.do(ctx, http.MethodGet, c.url, http.Header{}, "")
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden {
		return fmt.Errorf("the Session Manager still answers %s", res.Status)
	}
	return nil
}

// close gives up idle connections.
func (c *client) close() { c.http.close() }

func compress(body string) (string, error) {
	var out strings.Builder
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return "", fmt.Errorf("compress a request: %w", err)
	}
	// Piece by piece, since io.WriteString would copy all of it for a z that takes bytes alone.
	if _, err := io.Copy(z, struct{ io.Reader }{strings.NewReader(body)}); err != nil {
		return "", fmt.Errorf("compress a request: %w", err)
	}
	if err := z.Close(); err != nil {
		return "", fmt.Errorf("compress a request: %w", err)
	}
	return out.String(), nil
}

// request is one POST: events of one session of one log, in order.
type request struct {
	id      header.SessionID
	project string
	session string
	epoch   uint64
	events  []event
	gaps    header.Ranges
	replay  bool
	fill    bool
	beside  bool
}

// logID is the identity under which the receiver keeps its mark.
func (r request) logID() wal.ID {
	id := r.events[0].origin.logID
	if r.beside {
		return header.ReplayID(id, r.epoch)
	}
	return id
}

// body is the JSON body, events as they came. It is a string since a
// strings.Builder does not clear its memory before it is written.
func (r request) body() string {
	size := 64 + len(r.project) + len(r.session)
	for _, e := range r.events {
		size += len(e.raw) + 1
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString(`{"project_id":`)
	b.Write(appendJSON(nil, r.project))
	b.WriteString(`,"session_id":`)
	b.Write(appendJSON(nil, r.session))
	b.WriteString(`,"events":[`)
	for i, e := range r.events {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(e.raw)
	}
	b.WriteString("]}")
	return b.String()
}

func (r request) setHeader(h http.Header) {
	seqs := make([]uint64, len(r.events))
	for i, e := range r.events {
		seqs[i] = e.seq
	}
	key := header.Key{
		LogID: r.logID().String(), Epoch: r.epoch, Session: r.id,
		First: seqs[0], Last: seqs[len(seqs)-1], Fill: r.fill,
	}
	h["Content-Type"] = []string{"application/json"}
	h[header.IdempotencyKey] = []string{key.String()}
	h[header.Epoch] = []string{strconv.FormatUint(r.epoch, 10)}
	h[header.Seqs] = []string{string(header.AppendSeqs(nil, seqs))}
	if len(r.gaps) > 0 {
		h[header.Gaps] = []string{r.gaps.String()}
	}
	if r.replay {
		h[header.Replay] = []string{"true"}
	}
	if r.fill {
		var filled header.Ranges
		for _, seq := range seqs {
			filled = filled.Add(seq, seq)
		}
		h[header.Fill] = []string{filled.String()}
	}
}
