package wal_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"forebay/wal"
	"forebay/wal/waltest"
)

// TestCloseWhenTheLastSyncFails: Close tells of the failure only if the log
// could not be brought in order after it.
func TestCloseWhenTheLastSyncFails(t *testing.T) {
	for name, count := range map[string]int{"once": 1, "until the disk is back": -1} {
		t.Run(name, func(t *testing.T) {
			disk := waltest.Mount(t)
			w := &workload{t: t, disk: disk, dir: filepath.Join(disk.Dir(), "log"), kept: newLedger()}
			o := options(w.dir)
			o.SyncInterval = time.Hour
			l := open(t, o)
			w.append(l, 3)
			disk.Inject(waltest.Fault{Op: waltest.Sync, Nth: 1, Count: count})
			err := l.Close()
			if disk.Hits()[0] == 0 {
				t.Fatal("close has not synced")
			}
			disk.Heal()
			var u *wal.UnavailableError
			switch {
			case count == 1 && err != nil:
				t.Errorf("close with a recovery that works: %v", err)
			case count != 1 && (!errors.As(err, &u) || u == nil || !errors.Is(err, syscall.EIO) || u.Since.IsZero()):
				t.Errorf("close with a recovery that fails: %v", err)
			}
			w.reopen(w.dir)
		})
	}
}

// TestStatsDoNotWaitForTheDisk has the disk stand still while damage is copied
// to the quarantine folder, and while the reserve file is made.
func TestStatsDoNotWaitForTheDisk(t *testing.T) {
	damaged := func(t *testing.T, l *wal.Log, dir string) func() {
		fill(t, l, 60)
		victim := readAll(t, l, 1).blocks[3]
		flip(t, filepath.Join(dir, victim.File), victim.Offset+int64(victim.HeaderSize))
		return func() { readAll(t, l, 1) }
	}
	released := func(t *testing.T, l *wal.Log, _ string) func() {
		if given, err := l.ReleaseReserve(); !given || err != nil {
			t.Fatalf("no reserve to give up: %v", err)
		}
		return func() {
			if _, err := l.Retain(wal.Retention{}); err != nil {
				t.Errorf("retain: %v", err)
			}
		}
	}
	for name, prepare := range map[string]func(*testing.T, *wal.Log, string) func(){"damage": damaged, "reserve": released} {
		t.Run(name, func(t *testing.T) {
			disk := waltest.Mount(t)
			o := options(filepath.Join(disk.Dir(), "log"))
			o.ReserveBytes = 64 << 10
			l := open(t, o)
			use := prepare(t, l, o.Dir)
			stuck, goOn := make(chan struct{}), make(chan struct{})
			var first sync.Once
			disk.OnChange(t, func(int, func(*rand.Rand) string) {
				first.Do(func() {
					close(stuck)
					<-goOn
				})
			})
			var waiting sync.WaitGroup
			waiting.Go(use)
			<-stuck
			stats := make(chan wal.Stats, 1)
			waiting.Go(func() { stats <- l.Stats() })
			deadline := time.NewTimer(10 * time.Second)
			defer deadline.Stop()
			select {
			case <-stats:
			case <-deadline.C:
				t.Error("Stats waits for the disk")
			}
			close(goOn)
			waiting.Wait()
			disk.OnChange(t, nil)
			if s := l.Stats(); !s.ReserveHeld || (s.Damaged > 0) != (name == "damage") || (s.Quarantined > 0) != (name == "damage") {
				t.Errorf("stats afterwards: %+v", s)
			}
		})
	}
}
