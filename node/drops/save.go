package drops

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"forebay/shipper"
)

// prefix is where memories are saved: a value for each minute or hour.
const prefix = "drops/"

// saved is a minute or an hour of one kind.
type saved struct {
	Kind
	Drops uint64 `json:"n"`
	Last  int64  `json:"t"`
}

func (s slot) key() string {
	unit := "m"
	if s.width == time.Hour {
		unit = "h"
	}
	return fmt.Sprintf("%s%s/%d", prefix, unit, s.start)
}

func parseSlot(key string) (s slot, ok bool) {
	unit, start, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	s.width = map[string]time.Duration{"m": time.Minute, "h": time.Hour}[unit]
	var err error
	s.start, err = strconv.ParseInt(start, 10, 64)
	return s, err == nil && s.width > 0
}

// State keeps a memory; *state.Store is one.
type State interface {
	Scan(prefix string, fn func(key string, value []byte) error) error
	Commit(writes ...shipper.Write) error
}

// Load adds what was saved. What cannot be read is left out, and named.
func (m *Memory) Load(state State) (unread []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	err = state.Scan(prefix, func(key string, value []byte) error {
		var all []saved
		s, ok := parseSlot(key)
		if !ok || json.Unmarshal(value, &all) != nil {
			unread = append(unread, key)
			return nil
		}
		for _, c := range all {
			m.count(cellKey{s, c.Kind}, c.Drops, c.Last)
		}
		return nil
	})
	m.changed = map[slot]bool{}
	return unread, err
}

// Save makes durable what has changed since the last time. What it could not
// save is saved by the next.
func (m *Memory) Save(state State) error {
	writes, slots, err := m.writes()
	if err != nil || len(writes) == 0 {
		return err
	}
	if err := state.Commit(writes...); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, s := range slots {
			m.changed[s] = true
		}
		return fmt.Errorf("save the memory of drops: %w", err)
	}
	return nil
}

func (m *Memory) writes() (writes []shipper.Write, slots []slot, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[slot][]saved{}
	for k, c := range m.cells {
		if m.changed[k.slot] {
			all[k.slot] = append(all[k.slot], saved{k.Kind, c.drops, c.last})
		}
	}
	for s := range m.changed {
		w := shipper.Write{Key: s.key()} // deletes one that is empty now
		if cells := all[s]; cells != nil {
			if w.Value, err = json.Marshal(cells); err != nil {
				return nil, nil, fmt.Errorf("encode the memory of drops: %w", err)
			}
		}
		writes, slots = append(writes, w), append(slots, s)
	}
	m.changed = map[slot]bool{}
	return writes, slots, nil
}
