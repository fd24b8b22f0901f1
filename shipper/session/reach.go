package session

import (
	"encoding/json"
	"fmt"

	"forebay/shipper"
)

// reachKey is where the state keeps how far sending went.
const reachKey = "reach"

// stateVersion is the version of all that the sink keeps in the state. A newer
// one is refused: guessing at it could lose events.
const stateVersion = 1

// reserve is how many seqs ahead of reading the reach is saved, so that
// sending waits for a save once in so many events at most.
const reserve = 20_000

// reach is how far sending went, as against the position, which is how far it
// was confirmed. After a rewind it tells which events may come a second time;
// it is saved ahead of sending, so that a crash cannot make it too low.
type reach struct {
	Version   int    `json:"version"`
	Epoch     uint64 `json:"epoch"`
	Sent      uint64 `json:"sent"`   // nothing above it was ever sent
	RepeatsTo uint64 `json:"replay"` // nothing above it was sent in an epoch before this
}

// loadReach reads the reach, and turns that of an earlier epoch into a replay.
func (r *run) loadReach() error {
	err := r.feed.Load(reachKey, func(key string, value []byte) error {
		if err := json.Unmarshal(value, &r.reach); err != nil {
			return fmt.Errorf("saved %s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r.reach.Version > stateVersion {
		return fmt.Errorf("the state of cursor %s has version %d, this release reads up to %d: run the release that wrote it", r.feed.Cursor(), r.reach.Version, stateVersion)
	}
	r.saved, r.before = r.reach, r.reach.Sent
	r.reach.Version = stateVersion
	if r.reach.Epoch != r.feed.Epoch() {
		r.reach.Epoch, r.reach.RepeatsTo = r.feed.Epoch(), r.reach.Sent
	}
	r.reach.RepeatsTo = max(r.reach.RepeatsTo, r.feed.RepeatsTo())
	return nil
}

// beyond says that events were read that may not be sent before the reach is
// saved.
func (r *run) beyond() bool { return !r.feed.Fill() && r.next > r.reach.Sent+1 }

// extend returns the reach to be saved with a commit, nil if the one that is
// saved will do for now. The last commit of a run saves it as it is: nothing
// more is sent.
func (r *run) extend() *reach {
	e := r.reach
	switch {
	case r.feed.Fill():
		return nil
	case r.end != nil || r.eof:
		e.Sent = max(r.before, r.next-1)
	case r.next+reserve/2 > r.reach.Sent:
		e.Sent = r.next - 1 + reserve
	}
	if e == r.saved {
		return nil
	}
	return &e
}

func (e reach) write() shipper.Write {
	value, _ := json.Marshal(e) // numbers always can be
	return shipper.Write{Key: reachKey, Value: value}
}
