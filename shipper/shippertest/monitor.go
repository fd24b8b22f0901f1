package shippertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"forebay/shipper"
)

// monitor watches what a cursor makes durable, beside what has arrived: the
// position never goes back within an epoch and never passes an event that has
// neither arrived nor been accounted for, and no letter is dropped before it
// has arrived. It also has commits fail.
type monitor struct {
	arrived func() []uint64

	mu      sync.Mutex
	next    uint64
	epoch   uint64
	dead    map[uint64]bool
	discard bool
	wrong   []string

	commits int // left until one fails; 0: none does
	fails   int // how many fail then; 0: all
	broken  bool
	failing bool
}

var errDied = errors.New("the node is dead")

func newMonitor(arrived func() []uint64) *monitor {
	return &monitor{arrived: arrived, dead: map[uint64]bool{}}
}

// found is what was wrong.
func (m *monitor) found() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrong
}

// failAt has the nth commit from now fail, and in all so many; 0: for ever.
func (m *monitor) failAt(n, times int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits, m.fails, m.broken, m.failing = n, times, false, false
}

// failed tells whether a commit has failed.
func (m *monitor) failed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.broken
}

// heal has commits work again, and tells whether one has failed.
func (m *monitor) heal() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits, m.failing = 0, false
	return m.broken
}

// discarding says that letters go without having arrived.
func (m *monitor) discarding(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.discard = on
}

// commit is a State's BeforeCommit.
func (m *monitor) commit(writes []shipper.Write) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.commits > 0 {
		if m.commits--; m.commits == 0 {
			m.broken, m.failing = true, true
		}
	}
	if m.failing {
		if m.fails == 1 {
			m.failing = false
		}
		return errDied
	}
	m.letters(writes)
	for _, w := range writes {
		if w.Key == "cursor/test" {
			m.position(w.Value)
		}
	}
	return nil
}

func (m *monitor) letters(writes []shipper.Write) {
	var arrived []uint64
	for _, w := range writes {
		number, isLetter := strings.CutPrefix(w.Key, "dead/test/")
		if !isLetter {
			continue
		}
		seq, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			m.wrong = append(m.wrong, err.Error())
			continue
		}
		if w.Value != nil {
			m.dead[seq] = true
			continue
		}
		delete(m.dead, seq)
		if arrived == nil {
			arrived = m.arrived()
		}
		if !m.discard && !slices.Contains(arrived, seq) {
			m.wrong = append(m.wrong, fmt.Sprintf("letter %d was dropped before it arrived", seq))
		}
	}
}

// position checks a position that is about to be saved.
func (m *monitor) position(value []byte) {
	var p struct {
		Next  uint64          `json:"next"`
		Epoch uint64          `json:"epoch"`
		Lost  []shipper.Range `json:"lost"`
	}
	if err := json.Unmarshal(value, &p); err != nil {
		m.wrong = append(m.wrong, err.Error())
		return
	}
	from := m.next
	switch {
	case p.Epoch < m.epoch:
		m.wrong = append(m.wrong, fmt.Sprintf("epoch %d was saved after %d", p.Epoch, m.epoch))
	case p.Epoch == m.epoch && p.Next < from:
		m.wrong = append(m.wrong, fmt.Sprintf("position %d was saved after %d in epoch %d", p.Next, from, p.Epoch))
	case p.Epoch == m.epoch && p.Next > from:
		arrived := m.arrived()
		for seq := from; seq < p.Next; seq++ {
			lost := slices.ContainsFunc(p.Lost, func(r shipper.Range) bool { return r.First <= seq && seq <= r.Last })
			if !lost && !m.dead[seq] && !slices.Contains(arrived, seq) {
				m.wrong = append(m.wrong, fmt.Sprintf("position %d was saved before event %d had arrived (arrived: %v)", p.Next, seq, arrived))
			}
		}
	}
	m.next, m.epoch = p.Next, p.Epoch
}
