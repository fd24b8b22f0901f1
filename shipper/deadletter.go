package shipper

import (
	"encoding/json"
	"fmt"
	"time"

	"forebay/wal"
)

// DeadLetter is an event that its sink refuses for good, kept with the reason
// until an operator requeues or discards it.
type DeadLetter struct {
	Cursor     string    `json:"cursor"`
	Seq        uint64    `json:"seq"`
	LogID      wal.ID    `json:"log_id"`
	ReceivedAt time.Time `json:"received_at"`
	Project    string    `json:"project"`
	Session    string    `json:"session"`
	SDKVersion string    `json:"sdk_version,omitempty"`
	AppID      string    `json:"app_id,omitempty"`
	Raw        []byte    `json:"raw"` // base64 in JSON: byte for byte, whatever it holds
	Reason     string    `json:"reason"`
	Attempts   int       `json:"attempts"`
	BuriedAt   time.Time `json:"buried_at"`
}

// NewDeadLetter fills a letter from the event it is about; the feed adds the
// cursor's name and the time.
func NewDeadLetter(e Event, reason string, attempts int) DeadLetter {
	return DeadLetter{
		Seq: e.Seq, LogID: e.LogID, ReceivedAt: e.ReceivedAt,
		Project: e.Project, Session: e.Session, SDKVersion: e.SDKVersion, AppID: e.AppID,
		Raw: e.Raw, Reason: reason, Attempts: attempts,
	}
}

// Event is the event as it was, ready to be delivered again.
func (d DeadLetter) Event() Event {
	return Event{
		Seq: d.Seq, LogID: d.LogID, ReceivedAt: d.ReceivedAt,
		Project: d.Project, Session: d.Session, SDKVersion: d.SDKVersion, AppID: d.AppID, Raw: d.Raw,
	}
}

func deadPrefix(cursor string) string { return "dead/" + cursor + "/" }

func deadKey(cursor string, seq uint64) string {
	return fmt.Sprintf("%s%020d", deadPrefix(cursor), seq)
}

func (d DeadLetter) write() (Write, error) {
	v, err := json.Marshal(d)
	if err != nil {
		return Write{}, fmt.Errorf("encode dead letter %d: %w", d.Seq, err)
	}
	return Write{Key: deadKey(d.Cursor, d.Seq), Value: v}, nil
}

// landfillWindow and landfillShare bound how much may be buried: more than
// one in a hundred of the last ten thousand events is no longer bad data, it
// is a bad deployment, and is for an operator to look at.
const (
	landfillWindow = 10_000
	landfillShare  = 100
)

// deadCount is what a cursor knows of its dead letters without reading them.
type deadCount struct {
	letters int
	bytes   int64
	recent  []uint64 // seqs buried lately, ascending, for the landfill guard
}

func (c *Cursor) countDead() error {
	err := c.state.Scan(deadPrefix(c.name), func(_ string, value []byte) error {
		c.dead.letters++
		c.dead.bytes += int64(len(value))
		return nil
	})
	if err != nil {
		return fmt.Errorf("count dead letters of cursor %s: %w", c.name, err)
	}
	return nil
}

// bury is Feed.Bury.
func (c *Cursor) bury(letters []DeadLetter, writes []Write) error {
	if len(letters) == 0 {
		return nil
	}
	writes = c.lane(writes)
	bytes, fresh := int64(0), 0
	for _, d := range letters {
		d.Cursor, d.BuriedAt = c.name, time.Now().UTC()
		w, err := d.write()
		if err != nil {
			return err
		}
		had, err := c.state.Get(w.Key)
		if err != nil {
			return fmt.Errorf("look for dead letter %d: %w", d.Seq, err)
		}
		if had == nil {
			fresh++
		}
		bytes += int64(len(w.Value) - len(had))
		writes = append(writes, w)
	}
	c.saving.Lock()
	defer c.saving.Unlock()
	if err := c.room(letters, fresh, bytes); err != nil {
		return err
	}
	if err := c.commit(writes); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead.letters += fresh
	c.dead.bytes += bytes
	for _, d := range letters {
		c.dead.recent = append(c.dead.recent, d.Seq)
	}
	return nil
}

// room says whether more may be buried.
func (c *Cursor) room(letters []DeadLetter, fresh int, bytes int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.set.opts
	if c.dead.letters+fresh > o.MaxDead || c.dead.bytes+bytes > o.MaxDeadBytes {
		return &PauseError{Reason: fmt.Sprintf("dead letters of cursor %s are full (%d letters, %d bytes): requeue or discard some, then resume", c.name, c.dead.letters, c.dead.bytes)}
	}
	newest := letters[len(letters)-1].Seq
	for len(c.dead.recent) > 0 && c.dead.recent[0]+landfillWindow <= newest {
		c.dead.recent = c.dead.recent[1:]
	}
	if len(c.dead.recent)+len(letters) > landfillWindow/landfillShare {
		c.dead.recent = nil // a resume gives a fresh allowance
		return &PauseError{Reason: fmt.Sprintf("over 1 %% of the last %d events of cursor %s were refused, the last because of %q: mend the destination or the sender, then resume", landfillWindow, c.name, letters[len(letters)-1].Reason)}
	}
	return nil
}
