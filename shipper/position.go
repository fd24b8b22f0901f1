package shipper

import (
	"encoding/json"
	"fmt"
	"time"
)

// positionVersion is the version of the JSON that a cursor is saved as. A
// newer one is refused: guessing at it could lose events.
const positionVersion = 1

// maxRanges bounds how many separate lost, expired and skipped ranges a
// cursor names; past it the nearest neighbours are joined into one.
const maxRanges = 1000

// Pause is why a cursor stands still.
type Pause struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until someone resumes it

	// Asks says that the cursor paused itself, and asks whether the cause has gone.
	Asks bool `json:"asks_again,omitempty"`
}

// loaded is a pause that was saved, with its end by the monotonic clock: setting
// the clock does not move it. It never lasts longer than it was to last in all,
// and begins anew where the time is not known.
func (p *Pause) loaded(now time.Time, doubted bool) *Pause {
	if p == nil || p.Until.IsZero() {
		return p
	}
	left, whole := p.Until.Sub(now), p.Until.Sub(p.Since)
	if left = min(left, whole); doubted {
		left = whole
	}
	q := *p
	q.Until = now.Add(left)
	return &q
}

// position is what a cursor saves. Everything below Next is accounted for.
type position struct {
	Version   int      `json:"version"`
	Next      uint64   `json:"next"`
	Epoch     uint64   `json:"epoch"`
	RepeatsTo uint64   `json:"replay,omitempty"` // seqs up to here were delivered before a rewind
	Pause     *Pause   `json:"pause,omitempty"`
	Undo      *rewound `json:"undo,omitempty"`
	Lost      []Range  `json:"lost,omitempty"`    // damaged in the log, never deliverable
	Expired   []Range  `json:"expired,omitempty"` // gone by retention before this cursor came
	Skipped   []Range  `json:"skipped,omitempty"` // passed over by an operator

	Discarded uint64 `json:"discarded,omitempty"` // dead letters that operators removed

	Counted bool   `json:"counted"`        // Shipped is
	Shipped uint64 `json:"shipped"`        // events below Next whose delivery was confirmed, see Account
	Gone    uint64 `json:"gone,omitempty"` // discarded events that the log no longer keeps
}

// note puts r into one of the position's lists. Where that joins ranges, what
// lies between them is counted as shipped no longer.
func (p *position) note(list *[]Range, r Range, a *account) {
	*list = insertRange(*list, r)
	if len(*list) > maxRanges {
		before := a.shipped(p)
		*list = joinNearest(*list)
		p.Shipped -= before - a.shipped(p)
	}
}

// rewound is where a cursor stood before its last rewind or skip.
type rewound struct {
	Next      uint64    `json:"next"`
	To        uint64    `json:"to"` // where it went
	RepeatsTo uint64    `json:"replay,omitempty"`
	Skipped   []Range   `json:"skipped,omitempty"`
	Skip      bool      `json:"skip,omitempty"` // it was a skip
	At        time.Time `json:"at"`
}

// cameTo tells whether the last move brought it to seq to, and it has not gone
// on since: the same move again is then already done.
func (p *position) cameTo(to uint64) bool {
	return p.Next == to && p.Undo != nil && p.Undo.To == to
}

// undo takes back u, the last move. What has been delivered since stays counted
// as delivered: it was skipped no longer, and it is a repeat if it comes again.
func (p *position) undo(u *rewound) {
	at := p.Next
	p.Undo, p.RepeatsTo = nil, u.RepeatsTo
	if u.Skip {
		if at > u.To {
			p.RepeatsTo = max(p.RepeatsTo, at-1)
		}
		p.Next, p.Skipped = u.Next, u.Skipped
	} else {
		p.Next = max(u.Next, at)
		for _, r := range rangesFrom(u.Skipped, at) {
			p.Skipped = addRange(p.Skipped, r)
		}
	}
	if p.RepeatsTo < p.Next {
		p.RepeatsTo = 0
	}
}

func cursorKey(name string) string { return "cursor/" + name }

func (p position) write(name string) (Write, error) {
	p.Version = positionVersion
	v, err := json.Marshal(p)
	if err != nil {
		return Write{}, fmt.Errorf("encode cursor %s: %w", name, err)
	}
	return Write{Key: cursorKey(name), Value: v}, nil
}

func decodePosition(name string, data []byte) (position, error) {
	var p position
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("cursor %s: its saved position cannot be read (restore the state folder or remove it to start at the oldest event): %w", name, err)
	}
	if p.Version != positionVersion {
		return p, fmt.Errorf("cursor %s: saved by another version (%d, this program knows %d): run the newer forebay", name, p.Version, positionVersion)
	}
	return p, nil
}
