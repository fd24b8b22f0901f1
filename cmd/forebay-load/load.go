package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"forebay/cmd/internal/sample"
)

// load is one run of send.
type load struct {
	flags   *sendFlags
	http    *http.Client
	limiter *rate.Limiter
	events  *sample.Generator

	mu       sync.Mutex
	receipts *json.Encoder // nil: none are kept
	summary  summary
	took     []time.Duration // of each request that was answered
}

// summary is what send prints.
type summary struct {
	Requests        int            `json:"requests"`
	Events          int            `json:"events"`               // posted and answered
	Receipts        int            `json:"receipts"`             // events that a strict key's answers accept
	Dropped         map[string]int `json:"dropped,omitempty"`    // events that they drop, by reason
	Retries         int            `json:"retries"`              // requests sent again
	LastRetry       string         `json:"last_retry,omitempty"` // and why
	Seconds         float64        `json:"seconds"`
	EventsPerSecond float64        `json:"events_per_second"`
	MedianMillis    float64        `json:"median_ms"` // of a request
	P99Millis       float64        `json:"p99_ms"`
}

// receipt is one event that the node accepted.
type receipt struct {
	Key     string `json:"key"`
	Session string `json:"session"`
	Seq     uint64 `json:"seq"`
}

func newLoad(f *sendFlags, receipts io.Writer) *load {
	l := &load{
		flags:  f,
		events: sample.New(f.seed, f.sessions),
		http: &http.Client{
			Timeout:   f.timeout,
			Transport: &http.Transport{MaxIdleConnsPerHost: f.clients, MaxIdleConns: f.clients},
		},
		summary: summary{Dropped: map[string]int{}},
	}
	if f.rate > 0 {
		l.limiter = rate.NewLimiter(rate.Limit(f.rate), max(f.batch, int(f.rate/10)))
	}
	if receipts != nil {
		l.receipts = json.NewEncoder(receipts)
	}
	return l
}

// run sends everything and sums up. When ctx ends it sums up what was done.
func (l *load) run(ctx context.Context) (summary, error) {
	defer l.http.CloseIdleConnections()
	start := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var clients sync.WaitGroup
	for i := range min(l.flags.clients, l.flags.sessions) {
		clients.Go(func() {
			if err := l.client(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	clients.Wait()
	s := l.summary
	s.Seconds = time.Since(start).Seconds()
	s.EventsPerSecond = float64(s.Events) / s.Seconds
	slices.Sort(l.took)
	if n := len(l.took); n > 0 {
		s.MedianMillis = float64(l.took[n/2].Microseconds()) / 1000
		s.P99Millis = float64(l.took[n*99/100].Microseconds()) / 1000
	}
	return s, context.Cause(ctx)
}

// client sends its share: the sessions i, i+clients, … in turn.
func (l *load) client(ctx context.Context, i int) error {
	clients := min(l.flags.clients, l.flags.sessions)
	left := l.flags.events / clients
	if i < l.flags.events%clients {
		left++
	}
	for session := i; left > 0; session += clients {
		if session >= l.flags.sessions {
			session = i
		}
		n := min(left, l.flags.batch)
		if l.limiter != nil {
			if err := l.limiter.WaitN(ctx, n); err != nil {
				return err
			}
		}
		if err := l.post(ctx, l.events.Batch(session, n)); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// post sends one batch until it is answered for good.
func (l *load) post(ctx context.Context, b sample.Batch) error {
	for start := time.Now(); ; {
		sent := time.Now()
		wait, err := l.try(ctx, b)
		if err == nil {
			l.mu.Lock()
			l.took = append(l.took, time.Since(sent))
			l.mu.Unlock()
			return nil
		}
		if wait == 0 || time.Since(start) > l.flags.patience {
			return err
		}
		l.mu.Lock()
		l.summary.Retries++
		l.summary.LastRetry = err.Error()
		l.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// try sends one batch once. wait is how long to wait before the next try, 0
// if there is no use in one.
func (l *load) try(ctx context.Context, b sample.Batch) (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(l.flags.url, "/")+"/v1/events", bytes.NewReader(b.Body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-API-Key", l.flags.key)
	req.Header.Set("X-Session-Id", b.Session) // by which a load balancer chooses the node
	res, err := l.http.Do(req)
	if err != nil {
		return 100 * time.Millisecond, err
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if closeErr := res.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return 100 * time.Millisecond, fmt.Errorf("read the answer: %w", err)
	}
	switch {
	case res.StatusCode == http.StatusOK && json.Valid(answer):
		return 0, l.answered(b, answer)
	case res.StatusCode == http.StatusOK:
		return time.Second, fmt.Errorf("the answer is not a node's: %.200q", answer)
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500: // of the node or of a proxy before it
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			seconds = 1
		}
		return time.Duration(seconds) * time.Second, fmt.Errorf("the answer is %s", res.Status)
	}
	return 0, fmt.Errorf("the node answered %s: %.1000s", res.Status, answer)
}

// answered reads a 200. To an ordinary key it says nothing, and there are no
// receipts.
func (l *load) answered(b sample.Batch, answer []byte) error {
	var a struct {
		Accepted *int `json:"accepted"`
		Events   []struct {
			Index   int    `json:"index"`
			Seq     uint64 `json:"seq"`
			Dropped string `json:"dropped"`
		} `json:"events"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("the node's answer is not JSON: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.summary.Requests++
	l.summary.Events += len(b.Keys)
	for _, e := range a.Events {
		if e.Index < 0 || e.Index >= len(b.Keys) {
			return fmt.Errorf("the node's answer names event %d of %d", e.Index, len(b.Keys))
		}
		if e.Dropped != "" {
			l.summary.Dropped[e.Dropped]++
			continue
		}
		l.summary.Receipts++
		if l.receipts == nil {
			continue
		}
		if err := l.receipts.Encode(receipt{Key: b.Keys[e.Index], Session: b.Session, Seq: e.Seq}); err != nil {
			return fmt.Errorf("write a receipt: %w", err)
		}
	}
	return nil
}

// String is the summary for people.
func (s summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sent %d events in %d requests, %.1f s, %.0f events/s (median %.1f ms, p99 %.1f ms)\n",
		s.Events, s.Requests, s.Seconds, s.EventsPerSecond, s.MedianMillis, s.P99Millis)
	if s.Receipts > 0 {
		fmt.Fprintf(&b, "receipts for %d events\n", s.Receipts)
	}
	for reason, n := range s.Dropped {
		fmt.Fprintf(&b, "dropped %d: %s\n", n, reason)
	}
	if s.Retries > 0 {
		fmt.Fprintf(&b, "%d requests sent again, the last because: %s\n", s.Retries, s.LastRetry)
	}
	return b.String()
}
