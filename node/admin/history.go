package admin

import (
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"
)

// History is the last hour as the node measured it, kept in memory only.
type History struct {
	EverySeconds float64  `json:"every_seconds"` // between two points
	Points       []Sample `json:"points"`        // oldest first; at most an hour
}

// Sample is one point. Rates and latencies are those of the time since the
// point before; a latency is 0 if nothing was measured.
type Sample struct {
	At              time.Time               `json:"at"`
	Requests        float64                 `json:"requests_per_second"`
	RequestsDropped float64                 `json:"requests_dropped_per_second"`
	Accepted        float64                 `json:"accepted_per_second"` // events
	EventsDropped   float64                 `json:"events_dropped_per_second"`
	ReplyMedian     float64                 `json:"reply_p50_seconds"`
	ReplyP99        float64                 `json:"reply_p99_seconds"`
	SyncMedian      float64                 `json:"sync_p50_seconds"`
	SyncP99         float64                 `json:"sync_p99_seconds"`
	LogBytes        int64                   `json:"log_bytes"`
	Cursors         map[string]CursorSample `json:"cursors"`
}

// CursorSample is how far one cursor was behind.
type CursorSample struct {
	LagEvents  uint64  `json:"lag_events"`
	LagSeconds float64 `json:"lag_seconds"`
}

// history answers with the points after ?since, or all.
func (a *api) history(r *http.Request, _ httprouter.Params) (any, error) {
	h := a.Node.History()
	since, err := timeParam(r, "since")
	if err != nil || since.IsZero() {
		return h, err
	}
	for len(h.Points) > 0 && !h.Points[0].At.After(since) {
		h.Points = h.Points[1:]
	}
	return h, nil
}
