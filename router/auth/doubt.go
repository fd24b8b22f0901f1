package auth

import (
	"errors"
	"time"
)

// A source that has lost most of its keys at once is not believed at once: an
// emptied file, or a fresh database behind the same name, must not turn every
// sender away. What it does say counts, revocations and new keys included; the
// keys that it no longer names stay as they were until the doubt ends: the keys
// are back, DoubtFor has passed, or an operator accepts the loss.

// DefaultDoubtFor is how long a loss is doubted if nobody says otherwise.
const DefaultDoubtFor = time.Hour

// minLoss is how many keys in force have to go at once, over half of them, for a
// doubt. A source without any key is doubted however few it had.
const minLoss = 3

// ErrNoDoubt is returned when there is no loss to accept.
var ErrNoDoubt = errors.New("no loss of keys is in doubt")

// Doubt is a loss that is not believed yet.
type Doubt struct {
	Since   time.Time `json:"since"`   // the last key was lost
	Until   time.Time `json:"until"`   // it is believed at the first look from then on
	Had     int       `json:"had"`     // keys in force before
	Lost    int       `json:"lost"`    // of these no longer named by the source
	Offered int       `json:"offered"` // keys that the source names, in force or not
}

// SetDoubtFor changes how long a loss is doubted from its next look on; 0: not at all.
func (d *Directory) SetDoubtFor(doubtFor time.Duration) { d.doubtFor.Store(int64(doubtFor)) }

// Doubt returns the loss that is not believed, nil if there is none.
func (d *Directory) Doubt() *Doubt { return d.current.Load().doubt }

// Offer is what a source says the whole set is now. It becomes the set, save the
// keys of a loss that is in doubt, which stay. The directory keeps the slice. Of
// keys with the same digest the last one counts.
func (d *Directory) Offer(keys []Key) error {
	if err := tooMany(keys); err != nil {
		return err
	}
	now := time.Now()
	offered := newSnapshot(keys, now)
	offered.answered = true
	d.writing.Lock()
	defer d.writing.Unlock()
	before := d.current.Load()
	doubt, missing := judge(before, offered, now, time.Duration(d.doubtFor.Load()))
	d.offered = offered
	if doubt == nil || !now.Before(doubt.Until) {
		d.believe(now)
		return nil
	}
	both := make([]Key, 0, len(offered.keys)+len(missing))
	s := newSnapshot(append(append(both, offered.keys...), missing...), now)
	s.answered, s.doubt = true, doubt
	d.publish(s)
	return nil
}

// Accept believes the loss that is in doubt, and returns it; ErrNoDoubt if there is
// none, or the source has not spoken since the start.
func (d *Directory) Accept() (Doubt, error) {
	d.writing.Lock()
	defer d.writing.Unlock()
	s := d.current.Load()
	if s.doubt == nil || d.offered == nil {
		return Doubt{}, ErrNoDoubt
	}
	d.believe(s.refreshed)
	return *s.doubt, nil
}

// believe makes what was offered the set. It is called with d.writing held.
func (d *Directory) believe(now time.Time) {
	s := *d.offered
	s.refreshed = now
	d.offered = nil
	d.publish(&s)
}

// judge returns the doubt about an offered set, nil if it is believed, and the keys
// before it that it does not name.
func judge(before, offered *snapshot, now time.Time, doubtFor time.Duration) (*Doubt, []Key) {
	doubt := Doubt{Since: now, Offered: len(offered.keys)}
	var missing []Key
	for _, key := range before.keys {
		active := key.Active(now)
		if active {
			doubt.Had++
		}
		if offered.find(key.Digest) >= 0 {
			continue
		}
		missing = append(missing, key)
		if active {
			doubt.Lost++
		}
	}
	most := doubt.Lost >= minLoss && 2*doubt.Lost > doubt.Had
	if all := doubt.Lost > 0 && len(offered.keys) == 0; !all && !most {
		return nil, nil
	}
	// A loss that grows is doubted anew, one that does not goes on.
	if known := before.doubt; known != nil && doubt.Lost <= known.Lost {
		doubt.Since = known.Since
	}
	doubt.Until = doubt.Since.Add(doubtFor)
	return &doubt, missing
}
