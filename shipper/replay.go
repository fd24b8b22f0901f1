package shipper

import (
	"encoding/json"
	"fmt"
	"time"
)

// Bounds of replays.
const (
	maxReplays  = 4          // that have not ended
	maxEnded    = 20         // that are remembered after their end
	maxRefused  = 10_000     // events of one that its destination may refuse
	maxRefusals = 100        // of these, how many are shown
	maxRate     = 10_000_000 // events a second
)

// The states that a replay can be in, beside those of a cursor.
const (
	Done     = "done"     // it has come to its end
	Canceled = "canceled" // an operator ended it
)

// Destination is where a replay delivers to. What is empty is as configured.
type Destination struct {
	Into     string   `json:"into"` // clickhouse or session
	Addrs    []string `json:"addrs,omitempty"`
	Database string   `json:"database,omitempty"`
	Table    string   `json:"table,omitempty"`
	URL      string   `json:"url,omitempty"`
}

// ReplaySpec says what of the log is delivered once more, and where to.
type ReplaySpec struct {
	Name string `json:"name"` // empty when it is asked for: the next replay-N
	Destination
	Filter
	First uint64 `json:"from_seq"` // 0 when it is asked for: the oldest that is kept
	Last  uint64 `json:"to_seq"`   // 0: the newest
	Rate  int    `json:"rate"`     // events a second at most; 0: no limit
}

// Refusal is an event that the destination refused.
type Refusal struct {
	Seq    uint64 `json:"seq"`
	Reason string `json:"reason"`
}

// Replay is what there is to know of a replay at one moment.
type Replay struct {
	ReplaySpec
	State     string    `json:"state"`             // as of a cursor: running, failing or paused; in the end done or canceled
	Stopped   bool      `json:"stopped,omitempty"` // the node does not run
	Epoch     uint64    `json:"epoch"`
	By        string    `json:"by"`
	Why       string    `json:"why,omitempty"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`

	NextSeq     uint64    `json:"next_seq"`               // all of the range below it is done
	Progress    float64   `json:"progress"`               // of the range, 0 to 1
	Delivered   uint64    `json:"delivered"`              // events that were selected and confirmed
	Refused     int       `json:"refused"`                // by the destination
	Refusals    []Refusal `json:"refusals,omitempty"`     // the first 100
	Lost        []Range   `json:"lost,omitempty"`         // damaged in the log: selected or not, nobody knows
	Expired     []Range   `json:"expired,omitempty"`      // removed by retention before the replay came, likewise
	PassedRate  float64   `json:"seqs_per_second"`        // seqs of the range passed, over the last minute
	SecondsLeft float64   `json:"seconds_left,omitempty"` // at the pace while it delivers; 0 if unknown, or nothing is delivered

	Pause      *Pause    `json:"pause,omitempty"`
	LastError  string    `json:"last_error,omitempty"`
	ErrorSince time.Time `json:"error_since,omitzero"`
	Plan       *Plan     `json:"plan,omitempty"`
	Sink       any       `json:"sink,omitempty"`
}

// Over tells whether nothing is delivered any more.
func (r *Replay) Over() bool { return r.State == Done || r.State == Canceled }

// ReplayPreview is what a replay would mean.
type ReplayPreview struct {
	Spec ReplaySpec `json:"replay"` // its range is what there is of the one asked for
	Survey

	Removed            // of what was asked for
	SameAs     string  `json:"same_as,omitempty"` // the live cursor that fills the same destination
	Duplicates uint64  `json:"duplicates"`        // events that it has delivered there
	Seconds    float64 `json:"seconds,omitempty"` // to finish at the rate limit; 0 without one
}

// replayVersion is the version of the JSON that a replay is saved as.
const replayVersion = 1

// replayRecord is what is saved of a replay beside its cursor: as it was
// asked for, and in the end as it ended.
type replayRecord struct {
	Version int `json:"version"`
	Replay
}

const replayPrefix = "replay/"

func (r replayRecord) write() (Write, error) {
	r.Version = replayVersion
	v, err := json.Marshal(r)
	if err != nil {
		return Write{}, fmt.Errorf("encode replay %s: %w", r.Name, err)
	}
	return Write{Key: replayPrefix + r.Name, Value: v}, nil
}

func decodeReplay(key string, value []byte) (replayRecord, error) {
	var r replayRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return r, fmt.Errorf("saved %s cannot be read: %w", key, err)
	}
	if r.Version != replayVersion {
		return r, fmt.Errorf("saved %s is of another version (%d, this program knows %d): run the newer forebay", key, r.Version, replayVersion)
	}
	return r, nil
}

// now is the replay as it stands.
func (r *replay) now() (Replay, error) {
	if r.cursor == nil {
		return r.record.Replay, nil
	}
	s, out := r.cursor.Status(), r.record.Replay
	out.State, out.Stopped, out.Epoch, out.NextSeq = s.State, s.Stopped, s.Epoch, s.NextSeq
	out.Delivered, out.Refused = s.Account.Shipped, s.Dead
	out.Lost, out.Expired = s.Lost, s.Expired
	out.Pause, out.Plan, out.Sink = s.Pause, s.Plan, s.Sink
	if s.State != Running {
		out.LastError, out.ErrorSince = s.LastError, s.ErrorSince
	}
	whole := Range{r.record.First, r.record.Last}.Len()
	left := whole - (min(s.NextSeq, r.record.Last+1) - r.record.First)
	out.Progress = float64(whole-left) / float64(whole)
	out.PassedRate = s.RatePerSecond
	if s.Capacity > 0 && s.State == Running && !s.Stopped {
		out.SecondsLeft = float64(left) / s.Capacity
	}
	if out.Refused == 0 {
		return out, nil
	}
	var err error
	out.Refusals, err = r.cursor.refusals()
	return out, err
}

// refusals are the first events that were refused, with the reasons.
func (c *Cursor) refusals() ([]Refusal, error) {
	var all []Refusal
	err := c.Dead(DeadFilter{Limit: maxRefusals}, func(d DeadLetter) error {
		all = append(all, Refusal{Seq: d.Seq, Reason: d.Reason})
		return nil
	})
	return all, err
}
