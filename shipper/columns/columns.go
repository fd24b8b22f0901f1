// Package columns turns an event, as the sender's JSON, into the values of the columns in which it is
// stored: one Row for ClickHouse and for the archive alike, so that a file of the archive can be loaded
// into the table and yields the same rows.
//
// Nothing of an event is dropped on the way. The fields that have a column go there, texts without
// their escapes. The metadata stays the sender's JSON, byte for byte. Everything else, that is fields
// that have no column and values of another type than their column's, is in [Row.Extra].
package columns

import (
	"fmt"
	"time"
	"unsafe"

	"forebay/shipper"
	"forebay/wal"
)

// Row is one event as its columns. A text that the event does not have is empty.
type Row struct {
	ProjectID      string
	SessionID      string
	EventType      string
	Timestamp      time.Time // the sender's clock: UTC, whole milliseconds
	ReceivedAt     time.Time // the node's clock: UTC, whole milliseconds
	Route          string
	TargetType     string
	TargetID       string
	TargetSelector string
	TargetTag      string
	Metadata       string // JSON as sent, whatever its type; {} when there is none
	Environment    string
	IdempotencyKey string
	SDKVersion     string
	AppID          string
	NodeID         string
	LogID          wal.ID
	Seq            uint64

	// Extra is a JSON object of what has no column, under its own names: unknown fields of the event,
	// unknown fields of its target (below "target"), and values that are not of their column's type.
	// It is empty when there is nothing of the kind. Values are as sent; null counts as absent
	// where there is a column.
	Extra string
}

// Names lists the columns in the order of Row, without extra.
func Names() []string {
	return []string{"project_id", "session_id", "event_type", "timestamp", "received_at", "route",
		"target_type", "target_id", "target_selector", "target_tag", "metadata", "environment",
		"idempotency_key", "sdk_version", "app_id", "node_id", "log_id", "seq"}
}

// ExtraName is the column of Row.Extra. A table that the node creates has it; an operator's own need not:
// without it those values are in the log, the session stream and the archive alone.
const ExtraName = "extra"

// Decode makes the row of e, on the node of that id. Field names are compared exactly, with case.
//
// The front door has checked e.Raw before it was stored, so an error means damage or a defect: Raw is
// not a JSON object, is not UTF-8, or has no timestamp in RFC 3339. Values that no column is made of
// are passed on and not checked again. The row shares no memory with e.Raw.
func Decode(e shipper.Event, nodeID string) (Row, error) {
	var d Decoder
	var row Row
	err := d.decode(&row, &e, nodeID, string(e.Raw))
	return row, named(err, &e)
}

// View puts into row what Decode returns, without a copy: the row's texts share the memory of e.Raw, which
// must not be written to as long as they are in use. After an error the row is what it was.
func (d *Decoder) View(row *Row, e *shipper.Event, nodeID string) error {
	err := d.decode(row, e, nodeID, unsafe.String(unsafe.SliceData(e.Raw), len(e.Raw)))
	return named(err, e)
}

func named(err error, e *shipper.Event) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("event %d: %w", e.Seq, err)
}
