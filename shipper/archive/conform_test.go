package archive

import (
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// fullDisk has no room while it is full: what is open can be finished.
type fullDisk struct {
	osDisk
	full *atomic.Bool
}

func (d fullDisk) create(path string) (handle, error) {
	if d.full.Load() {
		return nil, syscall.ENOSPC
	}
	return d.osDisk.create(path)
}

// TestConforms runs the suite of all sinks over files in a temporary folder.
func TestConforms(t *testing.T) {
	shippertest.Conform(t, func(t *testing.T) shippertest.Subject {
		dir := t.TempDir()
		var full atomic.Bool
		return shippertest.Subject{
			Sink: func() shipper.Sink {
				s, err := New(Options{Dir: dir, NodeID: "edge-1", Age: 10 * time.Millisecond, Bytes: 4 << 10})
				if err != nil {
					t.Fatal(err)
				}
				s.disk = fullDisk{full: &full}
				return s
			},
			Arrived: func() []uint64 {
				seqs := []uint64{}
				for _, path := range files(t, dir) {
					for _, l := range readFile(t, path) {
						seqs = append(seqs, l.Seq)
					}
				}
				return seqs
			},
			Empty: func() {
				for _, path := range files(t, dir) {
					if err := os.Remove(path); err != nil {
						t.Error(err)
					}
				}
			},
			Break:       func() { full.Store(true) },
			Heal:        func() { full.Store(false) },
			Poison:      `{"no":"timestamp"}`,
			FillsRepeat: true,
		}
	})
}
