package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"
)

// Bounds of the answers that go on until the operator has seen enough.
const (
	maxStreams     = 32               // open at a time, of all kinds together
	streamBeat     = 15 * time.Second // between signs of life, so that proxies do not cut a quiet stream
	streamPatience = 10 * time.Second // for an operator who does not read
	maxStreamLine  = 1 << 20          // bytes of one event, as the client takes it
)

// stream is an answer of server-sent events (text/event-stream): each has a
// name and one JSON value. One goroutine uses it.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
	beat    *time.Ticker // when beat.C fires, call alive
}

// streams answers with what run sends, to operators only. The context of run
// ends when the operator goes away or the node stops; then run returns. An
// error that run returns before it has sent or opened anything becomes the
// answer; a later one can only cut the stream short, which is no news to the
// operator.
func (a *api) streams(run func(ctx context.Context, r *http.Request, s *stream) error) httprouter.Handle {
	return func(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
		if err := a.admit(r); err != nil {
			a.fail(w, err)
			return
		}
		select {
		case a.places <- struct{}{}:
			defer func() { <-a.places }()
		default:
			a.fail(w, refuse(http.StatusServiceUnavailable, "%d streams are open already: end one of them", maxStreams))
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		if a.Stopping != nil {
			defer context.AfterFunc(a.Stopping, cancel)()
		}
		s := &stream{w: w, control: http.NewResponseController(w), beat: time.NewTicker(streamBeat)}
		defer s.beat.Stop()
		err := run(ctx, r, s)
		if err != nil && !s.begun {
			a.fail(w, err)
		}
		_ = s.control.SetWriteDeadline(time.Time{}) // the connection may serve another request
	}
}

// open begins the answer, so that the operator knows that the stream stands
// before there is anything to send.
func (s *stream) open() error {
	s.begin()
	return s.flush()
}

func (s *stream) begin() {
	if s.begun {
		return
	}
	s.begun = true
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // what tells nginx to pass events on at once
	s.w.WriteHeader(http.StatusOK)
}

// write writes one event. It may wait in a buffer until flush.
func (s *stream) write(name string, v any) error {
	data, err := json.Marshal(v) // one line: JSON escapes line breaks
	if err != nil {
		return fmt.Errorf("encode an event %s: %w", name, err)
	}
	s.begin()
	if err := s.limit(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.w, "event: %s\ndata: %s\n\n", name, data)
	return err
}

// alive writes a comment, which readers step over.
func (s *stream) alive() error {
	s.begin()
	if err := s.limit(); err != nil {
		return err
	}
	if _, err := io.WriteString(s.w, ":\n\n"); err != nil {
		return err
	}
	return s.flush()
}

// flush has all that was written reach the operator.
func (s *stream) flush() error {
	if err := s.limit(); err != nil {
		return err
	}
	return s.control.Flush()
}

// limit gives the operator time to take what is written next.
func (s *stream) limit() error {
	return s.control.SetWriteDeadline(time.Now().Add(streamPatience))
}

// follow sends each value that comes and is wanted as an event of that name,
// until ctx ends. It keeps the stream alive while nothing comes.
func follow[T any](ctx context.Context, s *stream, name string, values <-chan T, wanted func(T) bool) error {
	if err := s.open(); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-s.beat.C:
			err = s.alive()
		case v := <-values:
			if wanted(v) {
				err = s.write(name, v)
			}
			if err == nil && len(values) == 0 {
				err = s.flush()
			}
		}
		if err != nil {
			return err
		}
	}
}

// stream calls fn for the events of a stream of the node until ctx ends, fn
// returns an error, or the node ends the stream; only fn's error and a failure
// of the connection are returned.
func (c *Client) stream(ctx context.Context, path string, fn func(name string, data []byte) error) error {
	res, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxStreamLine)
	name := ""
	for lines.Scan() {
		field, value, _ := bytes.Cut(lines.Bytes(), []byte(": "))
		switch string(field) {
		case "event":
			name = string(value)
		case "data":
			if err := fn(name, value); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read the node's answer to %s: %w", path, err)
	}
	return nil
}
