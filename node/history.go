package node

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"forebay/node/admin"
)

// The last hour is kept in memory for the console: 360 points, 10 s apart.
const (
	historyEvery  = 10 * time.Second
	historyPoints = 360
)

// history measures the node at even distances.
type history struct {
	node *Node

	mu     sync.Mutex
	points []admin.Sample // oldest first
	last   reading
}

// reading is the counts that the next point's rates are taken from.
type reading struct {
	at              time.Time
	requests        uint64
	requestsDropped uint64
	accepted        uint64
	eventsDropped   uint64
	reply, sync     buckets
}

// run adds points until ctx ends.
func (h *history) run(ctx context.Context) {
	tick := time.NewTicker(historyEvery)
	defer tick.Stop()
	for {
		h.add(time.Now().UTC())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *history) add(now time.Time) {
	n := h.node
	tally := n.router.Tally()
	r := reading{
		at: now, requests: tally.Requests.Received, requestsDropped: sum(tally.Requests.Dropped),
		accepted: tally.Events.Accepted, eventsDropped: sum(tally.Events.Dropped),
		reply: bucketsOf(n.metrics.reply), sync: bucketsOf(n.metrics.sync),
	}
	p := admin.Sample{At: now, LogBytes: n.log.Stats().Bytes, Cursors: map[string]admin.CursorSample{}}
	for _, c := range n.cursors.All() {
		s := c.Status()
		p.Cursors[s.Name] = admin.CursorSample{LagEvents: s.LagEvents, LagSeconds: s.LagSeconds}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if took := now.Sub(h.last.at).Seconds(); !h.last.at.IsZero() && took > 0 {
		rate := func(now, before uint64) float64 { return float64(now-min(before, now)) / took }
		p.Requests, p.RequestsDropped = rate(r.requests, h.last.requests), rate(r.requestsDropped, h.last.requestsDropped)
		p.Accepted, p.EventsDropped = rate(r.accepted, h.last.accepted), rate(r.eventsDropped, h.last.eventsDropped)
	}
	reply, synced := r.reply.since(h.last.reply), r.sync.since(h.last.sync)
	p.ReplyMedian, p.ReplyP99 = reply.quantile(0.5), reply.quantile(0.99)
	p.SyncMedian, p.SyncP99 = synced.quantile(0.5), synced.quantile(0.99)
	h.last = r
	h.points = append(h.points, p)
	if over := len(h.points) - historyPoints; over > 0 {
		h.points = append(h.points[:0], h.points[over:]...)
	}
}

// History implements admin.Node.
func (n *Node) History() admin.History {
	n.history.mu.Lock()
	defer n.history.mu.Unlock()
	return admin.History{EverySeconds: historyEvery.Seconds(), Points: append([]admin.Sample{}, n.history.points...)}
}

func sum(counts map[string]uint64) (total uint64) {
	for _, n := range counts {
		total += n
	}
	return total
}

// buckets are a histogram's: how many observations lie at or below each bound.
type buckets []bucket

type bucket struct {
	below float64 // its upper bound
	count uint64  // cumulative
}

func bucketsOf(h prometheus.Histogram) (b buckets) {
	var m dto.Metric
	if err := h.Write(&m); err != nil {
		return nil // it cannot fail: the histogram is whole
	}
	for _, in := range m.GetHistogram().GetBucket() {
		b = append(b, bucket{in.GetUpperBound(), in.GetCumulativeCount()})
	}
	return append(b, bucket{math.Inf(1), m.GetHistogram().GetSampleCount()})
}

// since is what has come since an earlier look at the same histogram.
func (b buckets) since(before buckets) buckets {
	if len(before) != len(b) {
		return b
	}
	out := make(buckets, len(b))
	for i := range b {
		out[i] = bucket{b[i].below, b[i].count - before[i].count}
	}
	return out
}

// quantile is the value that a share q of the observations does not exceed,
// taken as evenly spread within a bucket; 0 if there are none. What lies above
// the last bound is shown as that bound.
func (b buckets) quantile(q float64) float64 {
	if len(b) == 0 || b[len(b)-1].count == 0 {
		return 0
	}
	rank := q * float64(b[len(b)-1].count)
	low, below := 0.0, uint64(0)
	for _, in := range b {
		if float64(in.count) >= rank {
			if math.IsInf(in.below, 1) {
				return low
			}
			return low + (in.below-low)*(rank-float64(below))/float64(max(in.count-below, 1))
		}
		low, below = in.below, in.count
	}
	return low
}
