package archive

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// faultyDisk fails chosen operations. It is the real disk otherwise.
type faultyDisk struct {
	osDisk
	mu    sync.Mutex
	count int
	fails func(n int) error // asked before the nth operation, counting from 0
}

func (d *faultyDisk) next() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.count
	d.count++
	return d.fails(n)
}

type faultyHandle struct {
	handle
	disk *faultyDisk
}

func (d *faultyDisk) create(path string) (handle, error) {
	if err := d.next(); err != nil {
		return nil, err
	}
	h, err := d.osDisk.create(path)
	return &faultyHandle{h, d}, err
}

func (d *faultyDisk) rename(from, to string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.osDisk.rename(from, to)
}

func (d *faultyDisk) syncDir(path string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.osDisk.syncDir(path)
}

// Write keeps half of what it is given when it fails, as a full disk does.
func (h *faultyHandle) Write(p []byte) (int, error) {
	if err := h.disk.next(); err != nil {
		n, _ := h.handle.Write(p[:len(p)/2])
		return n, err
	}
	return h.handle.Write(p)
}

func (h *faultyHandle) Sync() error {
	if err := h.disk.next(); err != nil {
		return err
	}
	return h.handle.Sync()
}

func (h *faultyHandle) Close() error {
	if err := h.disk.next(); err != nil {
		h.handle.Close()
		return err
	}
	return h.handle.Close()
}

// TestFaultSweep fails each operation once. The sink tells of it, goes on by itself, and every event is in one file.
func TestFaultSweep(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
		for n := 0; ; n++ {
			rig := shippertest.NewRig(t)
			for range 3 {
				rig.Append("shop", "s", 12) // about one file each
			}
			dir := t.TempDir()
			sink := newSink(t, dir)
			hit := false
			sink.disk = &faultyDisk{fails: func(i int) error {
				if i != n {
					return nil
				}
				hit = true
				return &os.PathError{Op: "test", Path: "x", Err: errno}
			}}
			ship := rig.Start(sink, Flush(), shipper.Options{})
			ship.WaitDone()
			ship.Stop()
			wantOnce(t, dir, ship.Status().Epoch, 1, 36)
			if !hit {
				if n < 10 {
					t.Fatalf("only %d operations", n)
				}
				break
			}
		}
	}
}

func TestFullDiskIsReportedAndPasses(t *testing.T) {
	rig := shippertest.NewRig(t)
	dir := t.TempDir()
	sink := newSink(t, dir)
	var mu sync.Mutex
	full := true
	sink.disk = &faultyDisk{fails: func(int) error {
		mu.Lock()
		defer mu.Unlock()
		if full {
			return &os.PathError{Op: "write", Path: dir, Err: syscall.ENOSPC}
		}
		return nil
	}}
	ship := rig.Start(sink, Flush(), shipper.Options{})
	rig.Append("shop", "s", 30)
	ship.WaitFor("the failure shows twice", func() bool {
		got := ship.Status()
		return got.State == shipper.Failing && got.ErrorCount >= 2
	})
	if got := ship.Status().LastError; got == "" {
		t.Error("no error is shown")
	}
	mu.Lock()
	full = false
	mu.Unlock()
	ship.WaitDone()
	ship.WaitFor("it delivers again", func() bool { return ship.Status().State == shipper.Running })
	ship.Stop()
	wantOnce(t, dir, ship.Status().Epoch, 1, 30)
}

// TestCrashSweep stops the world after each operation of the disk and of the state in turn, as a kill
// does, and starts again with another sink on what is left. No event is in two files, and none in none.
func TestCrashSweep(t *testing.T) {
	errDead := errors.New("the process is dead")
	for n := 0; ; n++ {
		rig := shippertest.NewRig(t)
		for range 3 {
			rig.Append("shop", "s", 12)
		}
		dir := t.TempDir()
		var mu sync.Mutex
		count, dead := 0, make(chan struct{})
		live := func() error {
			mu.Lock()
			defer mu.Unlock()
			count++
			if count == n+2 { // the first commit is that of the new cursor
				close(dead)
			}
			if count >= n+2 {
				return errDead
			}
			return nil
		}
		rig.State.BeforeCommit = func([]shipper.Write) error { return live() }
		sink := newSink(t, dir)
		sink.disk = &deadlyDisk{faultyDisk{fails: func(int) error { return live() }}}
		ship := rig.Start(sink, Flush(), shipper.Options{})
		done := false
		ship.WaitFor(fmt.Sprintf("run %d is dead or done", n), func() bool {
			select {
			case <-dead:
				return true
			default:
				done = ship.Next() > 36
				return done
			}
		})
		ship.Stop()

		mu.Lock()
		count = -1 << 30
		mu.Unlock()
		rig.State.BeforeCommit = nil
		rig.Append("shop", "s", 12)
		again := rig.Start(newSink(t, dir), Flush(), shipper.Options{})
		again.WaitDone()
		again.Stop()
		wantOnce(t, dir, again.Status().Epoch, 1, 48)
		if done {
			if n < 15 {
				t.Fatalf("only %d operations", n)
			}
			return
		}
	}
}

// deadlyDisk is the disk of a process that dies: it does not tidy up either.
type deadlyDisk struct{ faultyDisk }

func (d *deadlyDisk) remove(path string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.osDisk.remove(path)
}

// TestManyRestarts kills at random moments while events keep coming.
func TestManyRestarts(t *testing.T) {
	rig := shippertest.NewRig(t)
	dir := t.TempDir()
	total := uint64(0)
	var epoch uint64
	for range 30 {
		ship := rig.Start(newSink(t, dir), Flush(), shipper.Options{})
		for range 5 {
			rig.Append("shop", "s", 9)
			total += 9
		}
		at := ship.Next()
		ship.WaitFor("something is delivered", func() bool { return ship.Next() > at || ship.Next() > total })
		ship.Stop()
		epoch = ship.Status().Epoch
	}
	ship := rig.Start(newSink(t, dir), Flush(), shipper.Options{})
	ship.WaitDone()
	ship.Stop()
	wantOnce(t, dir, epoch, 1, total)
}
