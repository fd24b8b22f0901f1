package admin

import (
	"time"

	"forebay/node/config"
	"forebay/router"
	"forebay/router/auth"
	"forebay/shipper"
	"forebay/wal"
)

// Status is `forebay status --json`. Fields are added, never renamed.
type Status struct {
	NodeID    string           `json:"node_id"`
	LogID     string           `json:"log_id"`
	Version   string           `json:"version"`
	StartedAt time.Time        `json:"started_at"`
	Accepting bool             `json:"accepting"`
	Checks    []Check          `json:"checks"`
	Log       LogStatus        `json:"log"`
	Cursors   []shipper.Status `json:"cursors"`
	Replays   []shipper.Replay `json:"replays"` // that have not ended
	Keys      KeyStatus        `json:"keys"`
	Ledger    Ledger           `json:"ledger"`
	Drain     *DrainStatus     `json:"drain,omitempty"` // while an operator sends traffic elsewhere

	Descriptors *DescriptorStatus `json:"descriptors,omitempty"` // of a node that runs
}

// DrainStatus tells what has come since an operator sent traffic elsewhere.
type DrainStatus struct {
	Since time.Time `json:"since"`
	router.Senders
}

// DescriptorStatus tells how many file descriptors the process has open and may
// have, and so the front door of connections.
type DescriptorStatus struct {
	Open           uint64 `json:"open"`
	Limit          uint64 `json:"limit"`
	Connections    int    `json:"connections"`
	MaxConnections int    `json:"max_connections"`
}

// Check is one thing that is either in order, or says why not and what to do.
type Check struct {
	Name   string    `json:"name"` // accept, records, durable, ship, progress, keys, records, clock, disk, ledger, schema, proven, drain
	OK     bool      `json:"ok"`
	Reason string    `json:"reason,omitempty"` // what is wrong
	Remedy string    `json:"remedy,omitempty"` // what to do about it
	Since  time.Time `json:"since,omitzero"`   // it is as it is: in order, or not
	Ready  bool      `json:"-"`                // false: traffic should go elsewhere

	Pending bool `json:"pending,omitempty"` // not tried yet since the start, so it is not known
}

// LogStatus is the log's own account.
type LogStatus struct {
	FirstSeq    uint64    `json:"first_seq"`
	DurableSeq  uint64    `json:"durable_seq"`
	Segments    int       `json:"segments"`
	Bytes       int64     `json:"bytes"`
	BudgetBytes int64     `json:"budget_bytes"`
	Full        bool      `json:"full"`                      // new events are dropped
	FullIn      float64   `json:"full_in_seconds,omitempty"` // until that is so, as the backlog of the cursors grows; absent: not in sight, or it is full
	RewindTo    time.Time `json:"rewind_to,omitzero"`        // earliest time that cursors can be rewound to
}

// KeyStatus tells where keys come from and how fresh they are.
type KeyStatus struct {
	Source     string  `json:"source"`
	Count      int     `json:"count"`
	AgeSeconds float64 `json:"age_seconds"`
	LastError  string  `json:"last_error,omitempty"`

	Known    bool        `json:"known"`           // the source or the cache has said what they are
	Answered bool        `json:"answered"`        // the source has, since the start
	Doubt    *auth.Doubt `json:"doubt,omitempty"` // a loss of most keys at once that is not believed yet
	Denied   int         `json:"denied"`          // keys that an operator has denied on this node
}

// Ledger is the account of everything that came in, as one moment.
type Ledger struct {
	Requests  router.Requests                `json:"requests"`
	Events    router.Events                  `json:"events"`
	Projects  map[string]router.ProjectTally `json:"projects,omitempty"`
	Uncertain uint64                         `json:"uncertain"` // requests and dropped events that crashes may have left out, at most
	Balanced  bool                           `json:"balanced"`

	UncertainRequests uint64 `json:"uncertain_requests"` // the requests of Uncertain
	UncertainEvents   uint64 `json:"uncertain_events"`   // the dropped events
}

// Segment is one file of the log.
type Segment = wal.SegmentInfo

// Event is one event of the log as operators see it.
type Event struct {
	Seq        uint64    `json:"seq"`
	LogID      string    `json:"log_id"`
	ReceivedAt time.Time `json:"received_at"`
	Project    string    `json:"project"`
	Session    string    `json:"session"`
	SDKVersion string    `json:"sdk_version,omitempty"`
	AppID      string    `json:"app_id,omitempty"`
	Event      RawJSON   `json:"event"` // as the sender wrote it, white space aside
}

// RawJSON is JSON text that is passed on untouched.
type RawJSON []byte

// MarshalJSON returns the text itself.
func (r RawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// UnmarshalJSON keeps the text itself.
func (r *RawJSON) UnmarshalJSON(text []byte) error {
	*r = append((*r)[:0], text...)
	return nil
}

// Command says who asks for a change and why, for the audit trail.
type Command struct {
	By  string `json:"by,omitempty"`
	Why string `json:"why,omitempty"`
}

func (c Command) shipper() shipper.Command { return shipper.Command{By: c.By, Why: c.Why} }

// Duration is a time.Duration that JSON shows as text, such as "2h".
type Duration time.Duration

// MarshalText writes it as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what config.ParseDuration takes.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := config.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// PauseRequest asks to pause a cursor; For 0 is until it is resumed.
type PauseRequest struct {
	Command
	For Duration `json:"for,omitempty"`
}

// RewindRequest asks to move a cursor to a place named in exactly one way.
// Without Apply nothing is moved, and the answer tells what would be.
type RewindRequest struct {
	Command
	ToSeq   uint64    `json:"to_seq,omitempty"`
	ToTime  time.Time `json:"to_time,omitzero"`   // the first event received then or later
	ToStart bool      `json:"to_start,omitempty"` // the oldest event kept
	Back    Duration  `json:"back,omitempty"`     // so long before the last event delivered
	SkipTo  uint64    `json:"skip_to,omitempty"`  // forward, over events that are not delivered
	SkipEnd bool      `json:"skip_to_end,omitempty"`
	Apply   bool      `json:"apply,omitempty"`
}

// RewindReply tells what a move means and whether it was made.
type RewindReply struct {
	shipper.Preview
	Applied bool   `json:"applied"`
	Epoch   uint64 `json:"epoch,omitempty"` // the new one, if it was made
}

// UndoRequest asks to take back a cursor's last move. With Preview nothing is
// moved, and the answer tells what would be.
type UndoRequest struct {
	Command
	Preview bool `json:"preview,omitempty"`
}

// ReplayRequest asks for a replay. Times stand for the seqs received then:
// from FromTime on, before ToTime. Without Apply nothing is begun, and the
// answer tells what would be delivered.
type ReplayRequest struct {
	Command
	shipper.ReplaySpec
	FromTime time.Time `json:"from_time,omitzero"`
	ToTime   time.Time `json:"to_time,omitzero"`
	Apply    bool      `json:"apply,omitempty"`
}

// ReplayReply has one of the two: what a replay would mean, or the one that
// was begun.
type ReplayReply struct {
	Preview *shipper.ReplayPreview `json:"preview,omitempty"`
	Replay  *shipper.Replay        `json:"replay,omitempty"`
}

// DeadRequest names dead letters; without a filter it is all of a cursor's.
type DeadRequest struct {
	Command
	Filter shipper.DeadFilter `json:"filter"`
}

// DeadReply tells how many dead letters were changed.
type DeadReply struct {
	Letters int `json:"letters"`
}

// Problem is the body of every answer that is not a success.
type Problem struct {
	Error string `json:"error"`
}
