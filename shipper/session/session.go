// Package session carries events to a Session Manager over HTTP, for each
// session in the order of the log, whatever fails.
//
//	            ┌─ lane (project, session) ─ events waiting, in order ─┐
//	Feed ─────▶ ├─ lane …                                              ├─▶ ≤ 32 requests in flight,
//	            └─ lane …   failing ones parked, retried by themselves ┘   one for each session
//
// The events of a session wait in a lane. A lane has one request in flight;
// what gathers behind it goes together in the next. A session that fails is
// parked and tried again with growing pauses while the others go on; nothing
// of it overtakes anything else of it. The cursor's position is the low
// watermark, below which all is delivered, and marks tell what was delivered
// above it, so that little is sent again after a crash.
//
// What is sent, and how a receiver makes exactly-once of it, is in
// shipper/DELIVERY.md; forebay/shipper/session/receiver is such a receiver.
package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"forebay/shipper"
)

// Sink is the shipper.Sink of a Session Manager. Its state across calls of
// Ship is in the feed; the Sink holds the connections and the counters.
type Sink struct {
	opts   Options
	client *client
	wake   chan struct{} // setAside was set

	setAside atomic.Bool // what is parked is to be set aside by the loop

	stats                                atomic.Pointer[Stats]
	front                                atomic.Pointer[shipper.Front]
	requests, delivered, failed, refused atomic.Uint64
	buried, forgotten                    atomic.Uint64

	sizes sizes // of the loop

	mu      sync.Mutex
	resumed time.Time // when a probe last found the credentials accepted
	token   string    // in force then
}

// New returns a Sink, or an error that says which option is wrong.
func New(o Options) (*Sink, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	most := size{o.RequestEvents, o.RequestBytes}
	return &Sink{opts: o, client: c, wake: make(chan struct{}, 1), sizes: sizes{most: most, logger: o.Logger}}, nil
}

// Ship implements shipper.Sink. It retries for ever what may pass, and
// returns a *shipper.PauseError when the credentials are refused, when so
// much is refused that something else must be wrong, and when the receiver
// has seen a higher epoch. Once ctx ends, requests in flight have two seconds
// to end before they are ended.
func (s *Sink) Ship(ctx context.Context, feed *shipper.Feed) error {
	r, err := newRun(s, feed)
	if err != nil {
		return err
	}
	return r.ship(ctx)
}

// Close gives up idle connections. Ship must have returned.
func (s *Sink) Close() { s.client.close() }

// misledAfter is how long refused credentials are tried again, and do not pause
// the cursor, after a probe with the same token was taken: then the refusal has
// another cause, such as the path, or a firewall that minds the size.
const misledAfter = time.Minute

// unauthorized is the pause for refused credentials.
func (s *Sink) unauthorized(cause error) *shipper.PauseError {
	reason := "the Session Manager refuses the credentials: put a valid bearer token into shippers.session.token_file; delivery goes on by itself"
	if s.opts.Beside && s.opts.TokenFile == "" {
		reason = "this Session Manager wants a token, which goes only where the configuration says: name its URL in shippers.session.replay_urls and restart the node"
	}
	return &shipper.PauseError{Reason: reason, Err: cause, Probe: s.probe}
}

// misled tells whether a probe with the token in force was taken a moment ago.
func (s *Sink) misled() bool {
	token, err := s.client.token.authorization()
	s.mu.Lock()
	defer s.mu.Unlock()
	return err == nil && token == s.token && time.Since(s.resumed) < misledAfter
}

// probe finds out whether the credentials are accepted now.
func (s *Sink) probe(ctx context.Context) error {
	token, err := s.client.token.authorization()
	if err != nil {
		return err
	}
	if err := s.client.probe(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.resumed = token, time.Now()
	return nil
}
