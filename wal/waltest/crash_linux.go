package waltest

import (
	"bytes"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Crash returns a new folder with what the disk would hold if power were lost
// now. What has been synced is there. Of the rest nothing is, if rng is nil;
// else a part that rng chooses: each change of a directory by itself, but for
// the two names of a rename, and of a file's new bytes none, all, those up to
// some byte, or some pages, with zeros in the place of others.
//
// A sync that failed has dropped what it was to write, although reading still
// shows it: that is what Linux does.
func (d *Disk) Crash(t testing.TB, rng *rand.Rand) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.crash(t, rng)
}

// OnChange calls fn after each operation that has changed something or made it
// durable, with its number and with Crash as of that moment. The disk stands
// still meanwhile: fn must not use it, nor wait for anyone who does. nil ends
// it.
func (d *Disk) OnChange(t testing.TB, fn func(n int, crash func(*rand.Rand) string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = nil
	if fn != nil {
		d.watch = func(n int) {
			fn(n, func(rng *rand.Rand) string { return d.crash(t, rng) })
		}
	}
}

// changed takes note of an operation that has worked. The caller holds mu.
func (d *Disk) changed() {
	d.changes++
	if d.watch != nil {
		d.watch(d.changes)
	}
}

func (d *Disk) crash(t testing.TB, rng *rand.Rand) string {
	to := memoryDir(t)
	if err := d.crashDir(d.backing, to, rng); err != nil {
		t.Errorf("crash: %v", err)
	}
	return to
}

func (d *Disk) crashDir(from, to string, rng *rand.Rand) error {
	now, dirs, err := listInodes(from)
	if err != nil {
		return err
	}
	for _, name := range dirs { // folders are taken as durable; their entries are not
		if err := os.Mkdir(filepath.Join(to, name), 0o755); err != nil {
			return err
		}
		if err := d.crashDir(filepath.Join(from, name), filepath.Join(to, name), rng); err != nil {
			return err
		}
	}
	synced := d.names[from]
	all := maps.Clone(now)
	maps.Copy(all, synced)
	together := renames(synced, now)
	drawn := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		inode, there := synced[name]
		if rng != nil {
			group := together(name)
			took, done := drawn[group]
			if !done {
				took = rng.IntN(2) == 0
				drawn[group] = took
			}
			if took {
				inode, there = now[name]
			}
		}
		if !there {
			continue
		}
		left, err := d.files[inode].survivor(rng)
		if err == nil {
			err = writeSparse(filepath.Join(to, name), left)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// renames finds names that became or vanish with others: a rename is atomic.
// The function returned gives the same name for all of a group.
func renames(synced, now map[string]uint64) func(string) string {
	was := map[uint64]string{}
	for name, inode := range synced {
		was[inode] = name
	}
	parent := map[string]string{}
	find := func(name string) string {
		for parent[name] != "" {
			name = parent[name]
		}
		return name
	}
	for name, inode := range now {
		if before, renamed := was[inode]; renamed && find(before) != find(name) {
			parent[find(name)] = find(before)
		}
	}
	return find
}

const page = 4096

// survivor returns what is left of a file.
func (m *media) survivor(rng *rand.Rand) ([]byte, error) {
	left := slices.Clone(m.stable)
	if rng == nil {
		return left, nil
	}
	info, err := m.file.Stat()
	if err != nil || len(m.dirty) == 0 && info.Size() == int64(len(left)) {
		return left, err
	}
	current := make([]byte, info.Size())
	if _, err := m.file.ReadAt(current, 0); err != nil && err != io.EOF {
		return left, err
	}
	if len(current) < len(left) && rng.IntN(2) == 0 {
		left = left[:len(current)] // cut since, which may have reached the disk
	}
	switch rng.IntN(4) {
	case 0:
		return left, nil
	case 1:
		return m.overwrite(left, current, func(_, n int) int { return n }), nil
	case 2:
		total := 0
		for _, s := range m.dirty {
			total += int(s.to - s.from)
		}
		budget := rng.IntN(total + 1)
		return m.overwrite(left, current, func(_, n int) int {
			n = min(n, budget)
			budget -= n
			return n
		}), nil
	}
	if len(left) < len(current) && rng.IntN(2) == 0 { // the size came first
		left = append(left, make([]byte, len(current)-len(left))...)
	}
	pages := map[int]bool{}
	return m.overwrite(left, current, func(at, n int) int {
		kept, drawn := pages[at/page]
		if !drawn {
			kept = rng.IntN(2) == 0
			pages[at/page] = kept
		}
		if !kept {
			return 0
		}
		return n
	}), nil
}

// overwrite puts what was written since the last sync over what was there
// before, in pieces of a page at most: of the n bytes from at on, as many as
// kept says. What lies between is zeros.
func (m *media) overwrite(left, current []byte, kept func(at, n int) int) []byte {
	for _, s := range m.dirty {
		to := min(int(s.to), len(current))
		for at := int(s.from); at < to; {
			n := min(to, (at/page+1)*page) - at
			if end := at + kept(at, n); end > at {
				if end > len(left) {
					left = append(left, make([]byte, end-len(left))...)
				}
				copy(left[at:end], current[at:end])
			}
			at += n
		}
	}
	return left
}

// writeSparse writes a file whose zeros at the end take no space.
func writeSparse(path string, content []byte) error {
	used, zeros := len(content), make([]byte, 64<<10)
	for used >= len(zeros) && bytes.Equal(content[used-len(zeros):used], zeros) {
		used -= len(zeros)
	}
	if err := os.WriteFile(path, content[:used], 0o640); err != nil {
		return err
	}
	return os.Truncate(path, int64(len(content)))
}
