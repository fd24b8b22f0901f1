// Package shippertest holds what every sink's tests share: a state in memory,
// a cursor over a real log in a temporary folder, and one conformance suite
// that each sink must pass.
package shippertest

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"forebay/shipper"
)

// State is a shipper.State in memory. It survives what a test calls a
// restart, since the test keeps it. Safe for concurrent use.
type State struct {
	mu     sync.Mutex
	values map[string][]byte

	// BeforeCommit, if set, sees each commit and may refuse it.
	BeforeCommit func(writes []shipper.Write) error
}

// NewState returns an empty state.
func NewState() *State { return &State{values: map[string][]byte{}} }

// Get returns a copy of the value of key, nil if there is none.
func (s *State) Get(key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.values[key]), nil
}

// Scan calls fn for the keys with the prefix in ascending order, as they were
// when it began.
func (s *State) Scan(prefix string, fn func(key string, value []byte) error) error {
	s.mu.Lock()
	found := []shipper.Write{}
	for k, v := range s.values {
		if strings.HasPrefix(k, prefix) {
			found = append(found, shipper.Write{Key: k, Value: bytes.Clone(v)})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(found, func(a, b shipper.Write) int { return strings.Compare(a.Key, b.Key) })
	for _, w := range found {
		if err := fn(w.Key, w.Value); err != nil {
			return err
		}
	}
	return nil
}

// Commit applies the writes together.
func (s *State) Commit(writes ...shipper.Write) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.BeforeCommit != nil {
		if err := s.BeforeCommit(writes); err != nil {
			return err
		}
	}
	for _, w := range writes {
		if w.Value == nil {
			delete(s.values, w.Key)
		} else {
			s.values[w.Key] = bytes.Clone(w.Value)
		}
	}
	return nil
}
