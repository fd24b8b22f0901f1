package shipper_test

import (
	"maps"
	"slices"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// modelRows is how many events a batch of the model has.
const modelRows = 3

// held is a batch that the sink has and has not delivered.
type held struct {
	first, last uint64
	fill        bool
}

// model is what a cursor should be: a position, and sets.
type model struct {
	durable uint64
	next    uint64
	epoch   uint64
	replay  uint64
	plan    uint64 // last seq of the plan that is open; 0: none is
	paused  bool
	undo    *modelMove
	skipped map[uint64]bool
	dead    map[uint64]bool // true: requeued
	thrown  map[uint64]bool // discarded

	discarded uint64 // letters; an event can be discarded again after a rewind

	runs     bool
	stepping bool
	stepped  bool // the step has moved, and is in the trail
	held     *held
	sick     bool // the destination refuses some

	delivered []shippertest.Delivered
	trail     []string
	epochs    int
}

// modelMove is where the cursor stood before a move.
type modelMove struct {
	next, to, replay uint64
	skip             bool
	skipped          map[uint64]bool
}

func newModel() *model {
	return &model{next: 1, epoch: 1, epochs: 1, skipped: map[uint64]bool{}, dead: map[uint64]bool{}, thrown: map[uint64]bool{}}
}

// refuses says which events the destination does not take.
func (m *model) refuses(seq uint64) bool { return m.sick && seq%5 == 0 }

// requeued is the letters that wait to be delivered once more.
func (m *model) requeued() []uint64 {
	seqs := []uint64{}
	for seq, requeued := range m.dead {
		if requeued {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

// take is the batch that a sink without one gets.
func (m *model) take() {
	m.held = nil
	if !m.runs || m.paused && !m.stepping {
		return
	}
	if waiting := m.requeued(); len(waiting) > 0 && !m.stepping {
		waiting = waiting[:min(len(waiting), modelRows)]
		m.held = &held{waiting[0], waiting[len(waiting)-1], true}
	} else if m.next <= m.durable {
		m.held = &held{m.next, min(m.next+modelRows-1, m.durable), false}
	}
}

// interrupt is what any command on the sink does.
func (m *model) interrupt() {
	m.stepping, m.stepped = false, false
	m.take()
}

// batch is the seqs of the batch that the sink has.
func (m *model) batch() []uint64 {
	if m.held.fill {
		return slices.DeleteFunc(m.requeued(), func(seq uint64) bool { return seq > m.held.last })
	}
	seqs := []uint64{}
	for seq := m.held.first; seq <= m.held.last; seq++ {
		seqs = append(seqs, seq)
	}
	return seqs
}

// deliver is what the sink does with its batch when the state takes so many
// commits more: the plan, the letters if there are any, the advance.
func (m *model) deliver(commits int) (done bool) {
	if commits--; commits < 0 {
		return false
	}
	if !m.held.fill {
		m.plan = m.held.last
	}
	var refused []uint64
	for _, seq := range m.batch() {
		if m.refuses(seq) {
			refused = append(refused, seq)
		} else {
			m.delivered = append(m.delivered, shippertest.Delivered{Seq: seq, Epoch: m.epoch, Fill: m.held.fill})
		}
	}
	batch := m.batch()
	if len(refused) > 0 {
		if commits--; commits < 0 {
			return false
		}
		for _, seq := range refused {
			m.dead[seq] = false
		}
	}
	if commits--; commits < 0 {
		return false
	}
	m.advance(batch)
	return true
}

func (m *model) advance(batch []uint64) {
	if m.held.fill {
		for _, seq := range batch {
			if m.dead[seq] {
				delete(m.dead, seq)
				if seq < m.next {
					delete(m.skipped, seq) // it was delivered after all
				}
			}
		}
	} else {
		m.next, m.plan = m.held.last+1, 0
		if m.replay < m.next {
			m.replay = 0
		}
	}
	if m.stepping {
		m.trail = append(m.trail, "step")
		m.stepping = false
	}
	m.take()
}

// move is a rewind or a skip, if it is allowed; anything else changes nothing.
func (m *model) move(to uint64, skip bool) (refused bool) {
	if m.next == to && m.undo != nil && m.undo.to == to {
		return false
	}
	if to < 1 || to > m.durable+1 || skip && to <= m.next || !skip && to >= m.next {
		return true
	}
	m.replay = max(m.replay, m.plan)
	m.undo = &modelMove{m.next, to, m.replay, skip, maps.Clone(m.skipped)}
	if skip {
		for seq := m.next; seq < to; seq++ {
			m.skipped[seq] = true
		}
		if m.replay < to {
			m.replay = 0
		}
	} else {
		m.replay = max(m.replay, m.next-1)
		maps.DeleteFunc(m.skipped, func(seq uint64, _ bool) bool { return seq >= to })
	}
	m.moved(to, map[bool]string{true: "skip", false: "rewind"}[skip])
	return false
}

func (m *model) moved(to uint64, verb string) {
	m.next = to
	if m.plan >= to {
		m.replay = max(m.replay, m.plan)
	}
	m.plan = 0
	m.epochs++
	m.epoch = uint64(m.epochs)
	m.trail = append(m.trail, verb)
}

// back is an undo.
func (m *model) back() (refused bool) {
	u := m.undo
	if u == nil {
		return true
	}
	at := m.next
	m.undo, m.replay = nil, u.replay
	to := u.next
	if u.skip {
		m.skipped = u.skipped
		if at > u.to {
			m.replay = max(m.replay, at-1)
		}
	} else {
		to = max(to, at)
		for seq := range u.skipped {
			if seq >= at {
				m.skipped[seq] = true
			}
		}
	}
	if m.replay < to {
		m.replay = 0
	}
	m.moved(to, "undo")
	return false
}

// pause and resume tell the trail of what they changed.
func (m *model) setPaused(paused bool) {
	if m.paused == paused {
		return
	}
	m.paused = paused
	m.trail = append(m.trail, map[bool]string{true: "pause", false: "resume"}[paused])
}

// change is requeue and discard, of the letters that the filter names.
func (m *model) change(discard bool, f shipper.DeadFilter) (changed int) {
	for _, seq := range slices.Sorted(maps.Keys(m.dead)) {
		if len(f.Seqs) > 0 && !slices.Contains(f.Seqs, seq) {
			continue
		}
		switch {
		case discard:
			delete(m.dead, seq)
			m.thrown[seq] = true
			m.discarded++
			changed++
		case !m.dead[seq]:
			m.dead[seq] = true
			changed++
		}
	}
	if changed > 0 {
		m.trail = append(m.trail, map[bool]string{true: "discard", false: "requeue"}[discard])
		m.take()
	}
	return changed
}

// lost is the first event below the position that nothing became of; 0: none.
func (m *model) lost() uint64 {
	ever := map[uint64]bool{}
	for _, d := range m.delivered {
		ever[d.Seq] = true
	}
	for seq := uint64(1); seq < m.next; seq++ {
		if _, dead := m.dead[seq]; !ever[seq] && !dead && !m.thrown[seq] && !m.skipped[seq] {
			return seq
		}
	}
	return 0
}
