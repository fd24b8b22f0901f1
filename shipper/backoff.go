package shipper

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff spaces the retries of something that fails: each pause doubles the
// last, up to Max, and is drawn between half and the whole of it so that many
// nodes do not return in step. The zero value starts at 100 ms and ends at
// 30 s. It is for one goroutine.
type Backoff struct {
	Min, Max time.Duration
	next     time.Duration
}

// Next is how long to wait before the coming retry.
func (b *Backoff) Next() time.Duration {
	low, high := b.Min, b.Max
	if low <= 0 {
		low = 100 * time.Millisecond
	}
	if high <= 0 {
		high = 30 * time.Second
	}
	b.next = min(max(2*b.next, low), high)
	return b.next/2 + rand.N(b.next/2+1)
}

// Reset begins anew after a success.
func (b *Backoff) Reset() { b.next = 0 }

// Wait sleeps until the coming retry is due, or returns ctx.Err() at once
// when ctx ends.
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Sleep pauses for d, or returns ctx.Err() as soon as ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
