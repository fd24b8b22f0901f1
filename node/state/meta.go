package state

import (
	"encoding/json"
	"fmt"
	"strconv"

	"forebay/shipper"
	"forebay/wal"
)

// formatVersion is the version of the key space as a whole; values have versions of their own.
const formatVersion = "1"

const (
	metaFormat     = "meta/format"
	metaLogID      = "meta/log_id"
	metaDurableSeq = "meta/durable_seq"
)

// LogID is the identity of the log that this store belongs to, zero when none was set.
func (s *Store) LogID() (wal.ID, error) {
	value, err := s.Get(metaLogID)
	if err != nil || value == nil {
		return wal.ID{}, err
	}
	id, err := wal.ParseID(string(value))
	if err != nil {
		return wal.ID{}, fmt.Errorf("state: the saved log identity: %w", err)
	}
	return id, nil
}

// SetLogID saves the log's identity, durably.
func (s *Store) SetLogID(id wal.ID) error {
	return s.Commit(shipper.Write{Key: metaLogID, Value: []byte(id.String())})
}

// DurableSeq is a seq that the log is known to have reached, 0 when none was set.
func (s *Store) DurableSeq() (uint64, error) {
	value, err := s.Get(metaDurableSeq)
	if err != nil || value == nil {
		return 0, err
	}
	seq, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("state: the saved durable seq: %w", err)
	}
	return seq, nil
}

// SetDurableSeq saves how far the log has come, durably. A log that is found shorter when it is opened
// has lost its end.
func (s *Store) SetDurableSeq(seq uint64) error {
	return s.Commit(shipper.Write{Key: metaDurableSeq, Value: strconv.AppendUint(nil, seq, 10)})
}

// LoadJSON decodes the value of key into the variable that into points to, and reports whether there is one.
func (s *Store) LoadJSON(key string, into any) (found bool, err error) {
	value, err := s.Get(key)
	if err != nil || value == nil {
		return false, err
	}
	if err := json.Unmarshal(value, into); err != nil {
		return false, fmt.Errorf("state: the value of %q cannot be read: %w", key, err)
	}
	return true, nil
}

// SaveJSON saves value under key, durably.
func (s *Store) SaveJSON(key string, value any) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("state: the value of %q cannot be saved: %w", key, err)
	}
	return s.Commit(shipper.Write{Key: key, Value: encoded})
}
