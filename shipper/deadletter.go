package shipper

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
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
	Requeued   bool      `json:"requeued,omitempty"` // waits to be delivered once more
	Imported   bool      `json:"imported,omitempty"` // not this cursor's own: it may be of another log

	// Unreadable says that the record is damaged: only its seq is known. It can be
	// discarded, or replaced by an import.
	Unreadable bool `json:"unreadable,omitempty"`

	// Queued says that nobody refused the event: it stands in line because
	// what it belongs to has failed for too long to hold up all else.
	Queued bool `json:"queued,omitempty"`
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

// decodeLetter reads a letter. One that is damaged is a letter all the same, which
// says so; ok is false if not even its seq is known.
func (c *Cursor) decodeLetter(key string, value []byte) (d DeadLetter, ok bool) {
	err := json.Unmarshal(value, &d)
	if err == nil {
		return d, true
	}
	err = fmt.Errorf("dead letter %q cannot be read: %w", key, err)
	c.set.unreadable.note(key, err)
	seq, badKey := strconv.ParseUint(strings.TrimPrefix(key, deadPrefix(c.name)), 10, 64)
	return DeadLetter{Cursor: c.name, Seq: seq, LogID: c.log.ID(), Reason: err.Error(), Unreadable: true}, badKey == nil
}
