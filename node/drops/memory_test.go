package drops

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// drops are those of a project since a time.
func (m *Memory) drops(project string, since time.Time) (n uint64) {
	m.Cells(since, func(c Cell) {
		if c.Project == project {
			n += c.Drops
		}
	})
	return n
}

// TestFloodTakesNoOthersPlace: a project that is dropped for every rule in every
// minute loses its own minutes, and in the end its own hours; another's single
// drop of a day ago stays, to the minute.
func TestFloodTakesNoOthersPlace(t *testing.T) {
	m := New()
	m.most = 2000
	m.Add(Kind{Project: "quiet", Reason: "privacy", Rule: "email"}, noon.Add(-20*time.Hour))
	for minute := range 600 {
		at := noon.Add(time.Duration(minute) * time.Minute)
		for rule := range 40 {
			m.Add(Kind{Project: "flood", Reason: "invalid", Rule: fmt.Sprint(rule)}, at)
		}
		if len(m.cells) > m.most {
			t.Fatalf("%d counts in minute %d", len(m.cells), minute)
		}
	}
	if n := m.drops("quiet", time.Time{}); n != 1 {
		t.Errorf("the quiet project has %d drops", n)
	}
	if n := m.drops("quiet", noon.Add(-20*time.Hour+time.Minute)); n != 0 {
		t.Errorf("its drop is %d times counted in a later minute", n)
	}
	counted := m.drops("flood", time.Time{})
	if forgotten := m.Cells(noon, func(Cell) {}); counted+forgotten != 600*40 || counted < 600*40/2 {
		t.Errorf("of the flood's 24000 drops %d are counted and %d forgotten", counted, forgotten)
	}
	if total := m.Totals()[Kind{Reason: "invalid", Rule: "7"}]; total != 600 {
		t.Errorf("%d in all of one rule, want 600", total)
	}
}

// TestMemorySurvives what a process does: it is saved in part again and again,
// loaded, and joined and forgotten by age; a value that cannot be read is named
// and takes no other along.
func TestMemorySurvives(t *testing.T) {
	state := shippertest.NewState()
	m := New()
	kind := Kind{Project: "shop", Reason: "unknown_path", LooksLike: "segment"}
	for i := range 30 {
		m.Add(kind, noon.Add(time.Duration(i)*10*time.Minute))
		if err := m.Save(state); err != nil {
			t.Fatal(err)
		}
	}
	read := func() *Memory {
		t.Helper()
		again := New()
		if _, err := again.Load(state); err != nil {
			t.Fatal(err)
		}
		return again
	}
	if n := read().drops("shop", noon.Add(100*time.Minute)); n != 20 {
		t.Errorf("%d drops since the eleventh, want 20", n)
	}
	m = read()
	m.Tidy(noon.Add(Minutes + 2*time.Hour))
	if err := m.Save(state); err != nil {
		t.Fatal(err)
	}
	m = read()
	hours := 0
	m.Cells(time.Time{}, func(c Cell) {
		if c.Width == time.Hour {
			hours++
		}
	})
	if n := m.drops("shop", time.Time{}); n != 30 || hours != 2 {
		t.Errorf("%d drops, two hours of them in %d counts", n, hours)
	}
	if err := state.Commit(shipper.Write{Key: "drops/m/x", Value: []byte("{")}, shipper.Write{Key: "drops/m/60", Value: []byte("nonsense")}); err != nil {
		t.Fatal(err)
	}
	again := New()
	unread, err := again.Load(state)
	if err != nil || strings.Join(unread, " ") != "drops/m/60 drops/m/x" || again.drops("shop", time.Time{}) != 30 {
		t.Errorf("unread %v, %v", unread, err)
	}
	m.Tidy(noon.Add(Age + 24*time.Hour))
	if err := m.Save(state); err != nil {
		t.Fatal(err)
	}
	if n := read().drops("shop", time.Time{}); n != 0 {
		t.Errorf("%d drops are left after eight days", n)
	}
}
