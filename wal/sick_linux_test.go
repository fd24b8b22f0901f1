package wal_test

import (
	"errors"
	"path/filepath"
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
