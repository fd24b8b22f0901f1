// Package drops remembers how much was dropped, by project, reason and rule, in
// minutes of the last day and hours of the last week. It holds no value that
// was sent, and a bounded number of counts, of which no project takes another's.
package drops

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// Bounds of a memory.
const (
	MaxCells = 50_000             // counts in all
	Minutes  = 24 * time.Hour     // from when on minutes are joined into hours
	Age      = 7 * 24 * time.Hour // from when on they are forgotten
)

// Kind is what drops are counted by. Each of its texts but the project is one
// of a list that the program has.
type Kind struct {
	Project   string `json:"p,omitempty"` // empty: of no known key
	Reason    string `json:"r"`
	Rule      string `json:"u,omitempty"`
	LooksLike string `json:"l,omitempty"` // whose SDK it looks like, if it is not ours
}

// Cell is how many drops of a kind there were in a minute or an hour.
type Cell struct {
	Kind
	Start time.Time     // of the minute or the hour
	Width time.Duration // a minute or an hour
	Drops uint64
	Last  time.Time // when the last of them was, to the second
}

// slot is a minute or an hour.
type slot struct {
	start int64 // Unix seconds
	width time.Duration
}

func slotOf(t time.Time, width time.Duration) slot {
	return slot{t.Truncate(width).Unix(), width}
}

type cellKey struct {
	slot
	Kind
}

type count struct {
	drops uint64
	last  int64
}

// Memory counts drops. It is safe for concurrent use.
type Memory struct {
	mu        sync.Mutex
	most      int
	cells     map[cellKey]*count
	projects  map[string]int  // cells of each
	changed   map[slot]bool   // since they were saved
	totals    map[Kind]uint64 // since the start, without projects
	forgotten uint64          // drops whose counts were given up for want of room
}

// New makes an empty memory.
func New() *Memory {
	return &Memory{
		most: MaxCells, cells: map[cellKey]*count{}, projects: map[string]int{},
		changed: map[slot]bool{}, totals: map[Kind]uint64{},
	}
}

// Add counts a drop.
func (m *Memory) Add(k Kind, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count(cellKey{slotOf(at, time.Minute), k}, 1, at.Unix())
	k.Project = ""
	m.totals[k]++
	if len(m.cells) > m.most {
		m.makeRoom(slotOf(at, time.Minute))
	}
}

func (m *Memory) count(k cellKey, drops uint64, last int64) {
	c := m.cells[k]
	if c == nil {
		c = new(count)
		m.cells[k] = c
		m.projects[k.Project]++
	}
	c.drops += drops
	c.last = max(c.last, last)
	m.changed[k.slot] = true
}

func (m *Memory) remove(k cellKey) {
	delete(m.cells, k)
	if m.projects[k.Project]--; m.projects[k.Project] == 0 {
		delete(m.projects, k.Project)
	}
	m.changed[k.slot] = true
}

// makeRoom takes it from the project that has most: its minutes before the
// present one are joined into hours, and if that gives little, its oldest
// quarter is forgotten.
func (m *Memory) makeRoom(present slot) {
	largest := ""
	for name, n := range m.projects {
		if n > m.projects[largest] || m.projects[largest] == 0 {
			largest = name
		}
	}
	had := m.projects[largest]
	for _, k := range m.of(largest) {
		if k.width == time.Minute && k.slot != present {
			m.join(k)
		}
	}
	if m.projects[largest] <= had*3/4 {
		return
	}
	own := m.of(largest)
	slices.SortFunc(own, func(a, b cellKey) int { return cmp.Compare(a.start, b.start) })
	for _, k := range own[:len(own)/4+1] {
		m.forgotten += m.cells[k].drops
		m.remove(k)
	}
}

// of are the cells of a project.
func (m *Memory) of(project string) (own []cellKey) {
	for k := range m.cells {
		if k.Project == project {
			own = append(own, k)
		}
	}
	return own
}

// join adds a minute to its hour.
func (m *Memory) join(k cellKey) {
	c := m.cells[k]
	hour := k
	hour.slot = slotOf(time.Unix(k.start, 0), time.Hour)
	m.count(hour, c.drops, c.last)
	m.remove(k)
}

// Tidy joins what is older than a day into hours, and forgets what is older
// than a week.
func (m *Memory) Tidy(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	joined, gone := now.Add(-Minutes).Unix(), now.Add(-Age).Unix()
	for _, k := range slices.Collect(maps.Keys(m.cells)) {
		switch {
		case k.start < gone:
			m.remove(k)
		case k.width == time.Minute && k.start < joined:
			m.join(k)
		}
	}
}

// Cells calls fn for all that was counted since a time, to the minute or hour
// that it falls into; a zero time is all. It returns how many drops are counted
// no more for want of room.
func (m *Memory) Cells(since time.Time, fn func(Cell)) (forgotten uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, c := range m.cells {
		start := time.Unix(k.start, 0).UTC()
		if since.IsZero() || start.Add(k.width).After(since) {
			fn(Cell{Kind: k.Kind, Start: start, Width: k.width, Drops: c.drops, Last: time.Unix(c.last, 0).UTC()})
		}
	}
	return m.forgotten
}

// Totals are the drops since the start of the process, by all but the project.
func (m *Memory) Totals() map[Kind]uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.totals)
}
