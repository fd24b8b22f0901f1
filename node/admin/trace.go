package admin

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/router"
	"forebay/shipper"
	"forebay/shipper/clickhouse"
	"forebay/shipper/session"
	"forebay/wal"
)

// MaxTraced is how many blocks a trace by key reads at most.
const MaxTraced = 10

// TraceQuery names an event: by its seq, or by its idempotency key.
type TraceQuery struct {
	Seq     uint64 // 0: by key
	Key     string
	Project string // whose key; empty: any project that the node knows
}

// Trace is the life of the events that a query names. Events holds one, unless
// the key was stored more than once: the newest first, of at most MaxTraced
// blocks.
type Trace struct {
	Found    bool          `json:"found"`
	Answer   string        `json:"answer"` // one sentence: what was found, or what it means that nothing was
	Events   []TracedEvent `json:"events"`
	Drops    []router.Drop `json:"drops,omitempty"`   // of events with the key, such as repeats; the oldest first
	Damaged  []wal.Gap     `json:"damaged,omitempty"` // blocks that may hold the key, and cannot be read
	Searched Searched      `json:"searched"`
}

// Searched is where a trace looked.
type Searched struct {
	FirstSeq uint64    `json:"first_seq"` // of the log
	LastSeq  uint64    `json:"last_seq"`
	Since    time.Time `json:"since,omitzero"`     // when the oldest of them was received
	Projects []string  `json:"projects,omitempty"` // whose keys were looked for
	Drops    int       `json:"drops"`              // the latest drops that the node remembers
}

// TracedEvent is one event's life.
type TracedEvent struct {
	Seq            uint64    `json:"seq"`
	LogID          string    `json:"log_id"`
	ReceivedAt     time.Time `json:"received_at,omitzero"`
	Project        string    `json:"project,omitempty"`
	Session        string    `json:"session,omitempty"`
	EventType      string    `json:"event_type,omitempty"`
	IdempotencyKey string    `json:"idempotency_key,omitempty"`

	Block   *TracedBlock   `json:"block,omitempty"`   // nil: not in the log any more
	Request *TracedRequest `json:"request,omitempty"` // the request that brought it
	Gone    *wal.Gap       `json:"gone,omitempty"`    // why it is not in the log

	Cursors    []shipper.Fate `json:"cursors"`
	ClickHouse *TracedRow     `json:"clickhouse,omitempty"`      // nil: not shipped there
	Receiver   *TracedMarks   `json:"session_manager,omitempty"` // nil: not shipped there
}

// TracedBlock is where in the log an event stands.
type TracedBlock struct {
	Number   uint64 `json:"number"`
	File     string `json:"file"`
	Offset   int64  `json:"offset"` // of the block in the file
	FirstSeq uint64 `json:"first_seq"`
	Events   int    `json:"events"`
	Requests int    `json:"requests"` // that share the block, and its one sync
}

// TracedRequest is the accepted part of the request that brought an event.
type TracedRequest struct {
	FirstSeq   uint64 `json:"first_seq"`
	Events     int    `json:"events"`
	SDKVersion string `json:"sdk_version,omitempty"`
	AppID      string `json:"app_id,omitempty"`
}

// TracedRow is the event in ClickHouse, or why that is not known.
type TracedRow struct {
	clickhouse.Rows
	Error string `json:"error,omitempty"`
}

// TracedMarks is how far the event's session came, as the Session Manager says.
type TracedMarks struct {
	Offered bool                   `json:"offered"` // it answers GET /v1/sessions/marks
	Marks   []session.ReceiverMark `json:"marks,omitempty"`
	Error   string                 `json:"error,omitempty"`
}

// Trace follows one event.
func (c *Client) Trace(ctx context.Context, q TraceQuery) (t Trace, err error) {
	v := url.Values{}
	if q.Seq > 0 {
		v.Set("seq", strconv.FormatUint(q.Seq, 10))
	} else {
		v.Set("key", q.Key)
	}
	if q.Project != "" {
		v.Set("project", q.Project)
	}
	return t, c.get(ctx, "/admin/v1/trace?"+v.Encode(), &t)
}

func (a *api) trace(r *http.Request, _ httprouter.Params) (any, error) {
	seq, err := number(r, "seq", 0)
	if err != nil {
		return nil, err
	}
	q := TraceQuery{Seq: seq, Key: r.URL.Query().Get("key"), Project: r.URL.Query().Get("project")}
	if (q.Seq == 0) == (q.Key == "") {
		return nil, refuse(http.StatusBadRequest, "name the event in exactly one way: seq or key")
	}
	return a.Node.Trace(r.Context(), q)
}
