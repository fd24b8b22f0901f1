package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"forebay/shipper"
	"forebay/wal"
)

// clientTimeout bounds the wait for an answer to begin: a rewind waits for
// requests in flight. How long the rest of it takes depends on how much there is.
const clientTimeout = 2 * time.Minute

// Client calls a node's admin API.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// NewClient calls the node at addr: HOST:PORT, or unix:PATH for a socket.
func NewClient(addr, token string) *Client {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{DialContext: dialer.DialContext, ResponseHeaderTimeout: clientTimeout}
	c := &Client{base: "http://" + addr, token: token, http: &http.Client{Transport: transport}}
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		c.base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}
	}
	return c
}

// InProcess calls a handler directly, for a node that is stopped.
func InProcess(h http.Handler) *Client {
	return &Client{base: "http://localhost", http: &http.Client{Transport: direct{h}}}
}

// direct is a transport that hands requests to a handler.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	body, out := io.Pipe()
	a := &answer{header: http.Header{}, body: out, begun: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.end(func() { d.h.ServeHTTP(a, r) })
	}()
	<-a.begun
	return &http.Response{
		Status:     fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)),
		StatusCode: a.status, Header: a.sent, Body: answerBody{body, ended}, Request: r,
	}, nil
}

// answer hands what a handler writes to whoever reads the body, as it comes.
type answer struct {
	header, sent http.Header
	status       int
	begun        chan struct{} // closed once status and sent are set
	body         *io.PipeWriter
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// end runs the handler and ends the answer: broken off if the handler says so,
// as a server breaks the connection off.
func (a *answer) end(handle func()) {
	var err error
	defer func() {
		a.WriteHeader(http.StatusOK)
		_ = a.body.CloseWithError(err) // returns nil
	}()
	defer func() {
		if v := recover(); v == http.ErrAbortHandler {
			err = io.ErrUnexpectedEOF
		} else if v != nil {
			panic(v)
		}
	}()
	handle()
}

// answerBody waits, when it is closed, for the handler.
type answerBody struct {
	*io.PipeReader
	ended <-chan struct{}
}

func (b answerBody) Close() error {
	err := b.PipeReader.Close()
	<-b.ended
	return err
}

// Status is the node's status.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.get(ctx, "/admin/v1/status", &s)
}

// Cursors lists the cursors.
func (c *Client) Cursors(ctx context.Context) (s []shipper.Status, err error) {
	return s, c.get(ctx, "/admin/v1/cursors", &s)
}

// Cursor is one cursor.
func (c *Client) Cursor(ctx context.Context, name string) (s shipper.Status, err error) {
	return s, c.get(ctx, "/admin/v1/cursors/"+url.PathEscape(name), &s)
}

// Pause pauses a cursor.
func (c *Client) Pause(ctx context.Context, name string, req PauseRequest) (s shipper.Status, err error) {
	return s, c.post(ctx, cursorPath(name, "pause"), req, &s)
}

// Resume lets a cursor go on.
func (c *Client) Resume(ctx context.Context, name string, cmd Command) (s shipper.Status, err error) {
	return s, c.post(ctx, cursorPath(name, "resume"), cmd, &s)
}

// Retry has a cursor try now.
func (c *Client) Retry(ctx context.Context, name string, cmd Command) (s shipper.Status, err error) {
	return s, c.post(ctx, cursorPath(name, "retry"), cmd, &s)
}

// Step lets a paused cursor deliver one batch.
func (c *Client) Step(ctx context.Context, name string, cmd Command) (m shipper.Moved, err error) {
	return m, c.post(ctx, cursorPath(name, "step"), cmd, &m)
}

// Rewind previews or applies a move.
func (c *Client) Rewind(ctx context.Context, name string, req RewindRequest) (r RewindReply, err error) {
	return r, c.post(ctx, cursorPath(name, "rewind"), req, &r)
}

// Undo takes back the last move, or says what that would mean.
func (c *Client) Undo(ctx context.Context, name string, req UndoRequest) (m shipper.Moved, err error) {
	return m, c.post(ctx, cursorPath(name, "undo"), req, &m)
}

// Dead calls fn for the dead letters that the query selects: project, session,
// reason, since, until, seq, limit.
func (c *Client) Dead(ctx context.Context, name string, query url.Values, fn func(shipper.DeadLetter) error) error {
	return eachLine(ctx, c, cursorPath(name, "dead")+"?"+query.Encode(), fn)
}

// Requeue has dead letters delivered once more.
func (c *Client) Requeue(ctx context.Context, name string, req DeadRequest) (r DeadReply, err error) {
	return r, c.post(ctx, cursorPath(name, "dead/requeue"), req, &r)
}

// Discard removes dead letters for ever.
func (c *Client) Discard(ctx context.Context, name string, req DeadRequest) (r DeadReply, err error) {
	return r, c.post(ctx, cursorPath(name, "dead/discard"), req, &r)
}

// Import adds dead letters from JSON lines, as Dead has them.
func (c *Client) Import(ctx context.Context, name string, cmd Command, lines io.Reader) (r DeadReply, err error) {
	query := url.Values{"by": {cmd.By}, "why": {cmd.Why}}
	return r, c.call(ctx, http.MethodPost, cursorPath(name, "dead/import")+"?"+query.Encode(), lines, &r)
}

// AuditLog calls fn for what operators did, oldest first.
func (c *Client) AuditLog(ctx context.Context, fn func(shipper.TrailEntry) error) error {
	return eachLine(ctx, c, "/admin/v1/audit-log", fn)
}

// Reload has the node read its configuration anew and apply what can change
// while it runs.
func (c *Client) Reload(ctx context.Context, cmd Command) (r ReloadReply, err error) {
	return r, c.post(ctx, "/admin/v1/config/reload", cmd, &r)
}

func cursorPath(name, verb string) string {
	return "/admin/v1/cursors/" + url.PathEscape(name) + "/" + verb
}

// Segments lists the log's files.
func (c *Client) Segments(ctx context.Context) (s []Segment, err error) {
	return s, c.get(ctx, "/admin/v1/wal/segments", &s)
}

// Verify reads the whole log and reports what is damaged.
func (c *Client) Verify(ctx context.Context) (r wal.Report, err error) {
	return r, c.get(ctx, "/admin/v1/wal/verify", &r)
}

// VerifyProgress is Verify that tells how many bytes of all it has read.
func (c *Client) VerifyProgress(ctx context.Context, progress func(read, all int64)) (r wal.Report, err error) {
	found := false
	err = eachLine(ctx, c, "/admin/v1/wal/verify?progress=true", func(p VerifyProgress) error {
		if p.Report != nil {
			r, found = *p.Report, true
		} else {
			progress(p.Read, p.All)
		}
		return nil
	})
	if err == nil && !found {
		err = errors.New("the node's answer has no report")
	}
	return r, err
}

// Events calls fn for up to limit events from seq on; from 0 is the oldest.
func (c *Client) Events(ctx context.Context, from, limit uint64, fn func(Event) error) error {
	path := fmt.Sprintf("/admin/v1/wal/events?limit=%d", limit)
	if from > 0 {
		path += fmt.Sprintf("&from=%d", from)
	}
	return eachLine(ctx, c, path, fn)
}

// eachLine calls fn for the values of an answer of JSON lines.
func eachLine[T any](ctx context.Context, c *Client, path string, fn func(T) error) error {
	res, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for d := json.NewDecoder(res.Body); ; {
		var v T
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the node's answer to %s: %w", path, err)
		}
		if err := fn(v); err != nil {
			return err
		}
	}
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.call(ctx, http.MethodGet, path, nil, into)
}

func (c *Client) post(ctx context.Context, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	return c.call(ctx, http.MethodPost, path, bytes.NewReader(text), into)
}

func (c *Client) call(ctx context.Context, method, path string, body io.Reader, into any) error {
	res, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("read the node's answer to %s: %w", path, err)
	}
	return nil
}

// do returns a successful response, or the problem that the node named.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("call the node: %w", err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the node does not answer (is it running? --admin and FOREBAY_ADMIN say where it listens; --config FILE also works on a stopped node): %w", err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	var p Problem
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&p); err != nil || p.Error == "" {
		return nil, fmt.Errorf("the answer to %s was %s: is this the admin address of a node (not that of its front door)?", path, res.Status)
	}
	return nil, errors.New(p.Error)
}
