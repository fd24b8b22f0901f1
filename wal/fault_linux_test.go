package wal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"forebay/wal"
	"forebay/wal/waltest"
)

// faults are the errors that a disk gives.
var faults = []waltest.Fault{
	{Op: waltest.Write, Err: syscall.EIO},
	{Op: waltest.Write, Err: syscall.ENOSPC, Short: true},
	{Op: waltest.Sync, Err: syscall.EIO},
	{Op: waltest.Open, Err: syscall.EIO},
	{Op: waltest.Rename, Err: syscall.EIO},
	{Op: waltest.Unlink, Err: syscall.EIO},
	{Op: waltest.SyncDir, Err: syscall.EIO},
	{Op: waltest.Truncate, Err: syscall.EIO},
}

// TestEveryOperationFailsOnce fails the Nth operation of each kind, for every N
// of a workload that appends, rolls, retains, and recovers.
func TestEveryOperationFailsOnce(t *testing.T) {
	for _, fault := range faults {
		t.Run(fmt.Sprintf("%s/%v", fault.Op, fault.Err), func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				fault.Nth = n
				if hits := runWorkload(t, fault); hits[0] == 0 {
					t.Logf("%d places to fail", n-1)
					break
				}
				if t.Failed() {
					t.Fatalf("with operation %d failing", n)
				}
			}
		})
	}
}

// TestTheRecoveryFailsToo fails an append and then, twice, a step of the
// recovery from that.
func TestTheRecoveryFailsToo(t *testing.T) {
	for _, first := range []waltest.Fault{
		{Op: waltest.Write, Nth: 5, Err: syscall.ENOSPC, Short: true},
		{Op: waltest.Sync, Nth: 5, Err: syscall.EIO},
	} {
		for _, second := range faults {
			if second.Op == first.Op {
				first.Count = 4
			}
			t.Run(fmt.Sprintf("%s/%s", first.Op, second.Op), func(t *testing.T) {
				t.Parallel()
				first, second := first, second
				for n := 1; n <= 4; n++ {
					second.Nth, second.Count = n, 2
					runWorkload(t, first, second)
					if t.Failed() {
						t.Fatalf("with operations %d and %d failing", n, n+1)
					}
				}
			})
			first.Count = 0
		}
	}
}

// workload appends to a log on a faulty disk and keeps the books.
type workload struct {
	t    *testing.T
	disk *waltest.Disk
	dir  string
	kept *ledger
	n    int
}

// runWorkload runs the workload with faults and returns how often each struck.
func runWorkload(t *testing.T, faults ...waltest.Fault) (hits []int) {
	disk := waltest.Mount(t)
	w := &workload{t: t, disk: disk, dir: filepath.Join(disk.Dir(), "log"), kept: newLedger()}
	o := options(w.dir)
	o.SegmentBytes = 600
	l := open(t, o)
	w.append(l, 3)
	disk.Inject(faults...)
	w.append(l, 12)
	w.retain(l, 8)
	w.append(l, 8)
	w.retain(l, 20)
	w.append(l, 2)
	hits = disk.Hits()
	disk.Heal()
	w.append(l, 1)
	if u := l.Stats().Unavailable; u != nil {
		t.Errorf("an append went through while the log says %v", u)
	}

	w.kept.check(t, readAll(t, l, 1), l.FirstSeq())
	w.afterPowerLoss(nil)
	for seed := range uint64(2) {
		w.afterPowerLoss(rand.New(rand.NewPCG(seed, uint64(w.n))))
	}
	closeLog(t, l)
	w.verify(w.dir)
	w.reopen(w.dir)
	return hits
}

// append appends n entries. One that is refused is tried again, as new data,
// until the log takes it.
func (w *workload) append(l *wal.Log, n int) {
	w.t.Helper()
	for range n {
		eventually(w.t, "the log takes appends again", func() bool {
			e := entry(w.n, 1+w.n%2, 60)
			w.n++
			first, err := l.Append(context.Background(), e)
			if err == nil {
				if last := w.kept.entries[first]; last.Data != nil {
					w.t.Errorf("seq %d was given out before", first)
				}
				w.kept.accept(first, e)
				return true
			}
			var refused *wal.UnavailableError
			if !errors.As(err, &refused) || refused.Cause == nil || refused.Since.IsZero() {
				w.t.Fatalf("append: %v", err)
			}
			w.kept.refused[string(e.Data)] = true
			return false
		})
	}
}

// retain deletes history; it may fail, and must then work when tried again.
func (w *workload) retain(l *wal.Log, keep uint64) {
	w.t.Helper()
	var last error
	eventually(w.t, "retention works again", func() bool {
		_, last = l.Retain(wal.Retention{KeepFrom: keep, Bytes: 1})
		return last == nil
	})
	for first := range w.kept.entries {
		if first < l.FirstSeq() && first >= keep {
			w.t.Errorf("seq %d has gone, kept from %d", first, keep)
		}
	}
}

// afterPowerLoss opens what the disk would hold after a power loss.
func (w *workload) afterPowerLoss(rng *rand.Rand) {
	w.t.Helper()
	after := w.disk.Crash(w.t, rng)
	w.reopen(filepath.Join(after, "log"))
	os.RemoveAll(after)
}

// reopen opens a log and checks that all that was accepted is in it.
func (w *workload) reopen(dir string) {
	w.t.Helper()
	o := options(dir)
	l := open(w.t, o)
	got := readAll(w.t, l, l.FirstSeq())
	w.kept.check(w.t, got, l.FirstSeq())
	for _, g := range got.gaps {
		w.t.Errorf("gap %+v", g)
	}
	mustAppend(w.t, l, entry(1<<41, 1, 60)) // it takes appends; but this one is not in the books
	closeLog(w.t, l)
	w.verify(dir)
}

func (w *workload) verify(dir string) {
	w.t.Helper()
	report, err := wal.Verify(dir)
	if err != nil || !report.OK() || report.TornTail != nil {
		w.t.Errorf("verify: %+v, %v", report, err)
	}
}

// TestOpenFails fails the Nth operation of Open itself, on a log that a crash
// has left with a torn tail.
func TestOpenFails(t *testing.T) {
	for _, fault := range faults {
		t.Run(fmt.Sprintf("%s/%v", fault.Op, fault.Err), func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				fault.Nth = n
				if hits := openFailing(t, fault); hits == 0 {
					break
				}
				if t.Failed() {
					t.Fatalf("with operation %d failing", n)
				}
			}
		})
	}
}

func openFailing(t *testing.T, fault waltest.Fault) (hits int) {
	disk := waltest.Mount(t)
	w := &workload{t: t, disk: disk, dir: filepath.Join(disk.Dir(), "log"), kept: newLedger()}
	l := open(t, options(w.dir))
	w.append(l, 30)
	closeLog(t, l)
	newest := newestWithBlocks(t, w.dir)
	f, err := os.OpenFile(newest, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half of a block"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	disk.Inject(fault)
	l, err = wal.Open(options(w.dir))
	hits = disk.Hits()[0]
	disk.Heal()
	if err == nil {
		w.append(l, 2)
		w.kept.check(t, readAll(t, l, 1), 1)
		closeLog(t, l)
	} else if !errors.Is(err, fault.Err) {
		t.Errorf("open: %v", err)
	}
	w.afterPowerLoss(nil)
	w.reopen(w.dir)
	return hits
}

// TestUnavailableUntilTheDiskIsBack keeps the disk failing and looks at the log
// meanwhile.
func TestUnavailableUntilTheDiskIsBack(t *testing.T) {
	for _, fault := range faults {
		if fault.Op != waltest.Write && fault.Op != waltest.Sync {
			continue // an append that does not roll needs no others
		}
		t.Run(fmt.Sprintf("%s/%v", fault.Op, fault.Err), func(t *testing.T) {
			disk := waltest.Mount(t)
			w := &workload{t: t, disk: disk, dir: filepath.Join(disk.Dir(), "log"), kept: newLedger()}
			l := open(t, options(w.dir))
			w.append(l, 10)
			durable := l.DurableSeq()
			fault.Nth, fault.Count = 1, -1
			disk.Inject(fault)
			refused := entry(1<<40, 1, 20)
			w.kept.refused[string(refused.Data)] = true
			for range 3 {
				_, err := l.Append(t.Context(), refused)
				var u *wal.UnavailableError
				if !errors.As(err, &u) || !errors.Is(err, fault.Err) {
					t.Fatalf("append: %v", err)
				}
			}
			if l.DurableSeq() != durable {
				t.Errorf("durable is %d, was %d", l.DurableSeq(), durable)
			}
			if s := l.Stats(); s.Unavailable == nil || s.Failures == 0 {
				t.Errorf("stats show nothing of it: %+v", s)
			}
			w.kept.check(t, readAll(t, l, 1), 1)
			w.afterPowerLoss(nil)
			disk.Heal()
			w.append(l, 10)
			w.kept.check(t, readAll(t, l, 1), 1)
		})
	}
}

// TestKilledAfterAFailedSync: the process dies after a sync failed and before
// the log recovered; the page cache still shows the blocks. What is read after
// the restart must survive a power loss.
func TestKilledAfterAFailedSync(t *testing.T) {
	disk := waltest.Mount(t)
	w := &workload{t: t, disk: disk, dir: filepath.Join(disk.Dir(), "log"), kept: newLedger()}
	l := open(t, options(w.dir))
	w.append(l, 5)
	disk.Inject(waltest.Fault{Op: waltest.Sync, Nth: 1, Count: -1})
	if _, err := l.Append(t.Context(), entry(99, 1, 60)); err == nil {
		t.Fatal("the append was accepted")
	}
	if err := l.Close(); err == nil { // the nearest to a kill: recovery fails here too
		t.Fatal("close says nothing of the failure")
	}
	disk.Heal()

	l = open(t, options(w.dir))
	shown := readAll(t, l, 1)
	w.kept.check(t, shown, 1)
	l2 := open(t, options(filepath.Join(disk.Crash(t, nil), "log")))
	left := readAll(t, l2, 1)
	for seq := range shown.entries {
		if _, ok := left.entries[seq]; !ok {
			t.Errorf("seq %d could be read and is lost by a power failure", seq)
		}
	}
}

// TestReadErrorsAreNotDamage: what cannot be read now may be readable later, so
// a reader stays where it is and nothing is taken for lost.
func TestReadErrorsAreNotDamage(t *testing.T) {
	disk := waltest.Mount(t)
	w := &workload{t: t, disk: disk, dir: filepath.Join(disk.Dir(), "log"), kept: newLedger()}
	l := open(t, options(w.dir))
	w.append(l, 60)
	for _, op := range []waltest.Op{waltest.Read, waltest.Open} {
		r := l.NewReader(1)
		next := uint64(1)
		for n := 1; next <= l.DurableSeq(); n++ {
			disk.Inject(waltest.Fault{Op: op, Nth: n % 3})
			b, err := r.Next(t.Context())
			if err != nil {
				if !errors.Is(err, syscall.EIO) {
					t.Fatal(err)
				}
				continue
			}
			if b.FirstSeq != next || len(b.Gaps) > 0 {
				t.Fatalf("seq %d and gaps %+v where %d is next", b.FirstSeq, b.Gaps, next)
			}
			next = b.LastSeq() + 1
		}
		disk.Heal()
		r.Close()
	}
	if s := l.Stats(); s.Damaged != 0 || s.LostSeqs != 0 {
		t.Errorf("%d damaged, %d lost", s.Damaged, s.LostSeqs)
	}
}
